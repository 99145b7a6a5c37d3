// An operation as a Program keeps it: what does not change lies in the operation's struct, and what is memory is a list
// of slots that name resources. Addresses exist from resolve() on, so a buffer that moved is bound again.
#pragma once

#include <array>
#include <memory>
#include <string>
#include <vector>

#include "hebb/operands.h"
#include "operands.h"

namespace hebb {

struct Values;

/// A place for memory in an operation, in the order in which its declaration is walked.
struct Slot {
  enum class Unit : uint8_t {
    none,
    links,
    elements,
    features
  };  // what first and count are in; none: nothing was given

  std::string name;  // as users know it: changes.keep
  declare::Role role = declare::Role::reads;
  bool isTransient = false;
  Unit unit = Unit::none;
  std::shared_ptr<Buffer> buffer;
  std::shared_ptr<SparseMatrix> links;
  int64_t first = 0, count = -1;  // elements, or features, of the buffer; -1: to its end
  int32_t size = 0;               // bytes of an element
  std::array<const char*, 2> over{};

  explicit operator bool() const { return unit != Unit::none; }
  bool writes() const { return role != declare::Role::reads; }
};

/// Whether two slots have memory in common: rows of one buffer that overlap, or the same links.
bool overlap(const Slot& a, const Slot& b);

struct Recorded {
  Operation operation;
  std::vector<Slot> slots;
  /// Of its activations, and of those that may lie along another one; null: the whole batch.
  std::array<std::shared_ptr<Buffer>, 2> axes;
  int32_t section = 0;  // of the step, see Program::cut()

  /// The slot of this name, or null.
  Slot* find(const std::string& name);
  bool touches(const Slot& slot) const;
  bool writes() const;
  /// Whether it changes which links a layer has.
  bool updatesLinks(const SparseMatrix* links) const;
  /// Whether it changes what outlives its step: other memory than activations and what an update keeps while it is
  /// open.
  bool lasts() const;
};

/// What columns may be, beside those of the batch: a part of it, or of another axis, or others.
struct ColumnAxis {
  std::shared_ptr<Buffer> memory;
  int32_t first = 0, columns = 0;  // of a part its first column; columns that fit
  bool isPart = false;
  std::shared_ptr<Buffer> whole = {};  // that it is a part of; null: the batch
};

/// What a Program has for its operations.
struct Surroundings {
  std::shared_ptr<Device> device;
  std::shared_ptr<Buffer> state, scalars;
  int32_t scalarCount = 0, batch = 0;
  const std::vector<ColumnAxis>* axes = nullptr;

  /// Elements of an array with one for each column of the axis; of a part, for each column of the whole.
  int64_t columnsOf(const std::shared_ptr<Buffer>& axis) const {
    for (const ColumnAxis& one : *axes) {
      if (one.memory == axis) return one.isPart ? columnsOf(one.whole) : one.columns;
    }
    return batch;
  }
};

/// Reads an operation's operands by its declaration, and checks them: names, types, shapes, and memory that would be
/// read after it was written.
Status readOperands(const std::string& operation, const Operands& operands, const Surroundings& surroundings,
                    Recorded* out);

/// The operation with the addresses, and the capacities, that its resources have now.
Status resolve(const Recorded& recorded, const Surroundings& surroundings, Operation* out);

/// Takes inside an operation what follows on it: the activation function inside the product whose output it alone
/// reads, its derivative inside the product that writes what it alone multiplies, spmmTransposed inside the sddmm over
/// the same links, and the optimizer's step inside the operation that writes the gradient where a Sgd reads it, nothing
/// else does, and nothing in between touches its parameters or its links.
std::vector<Recorded> fuse(std::vector<Recorded> recorded, const Values& values);

/// All operations that can be recorded, with their operands, as JSON: what lib/operands.ts is written from.
std::string describeOperations();

}  // namespace hebb
