// What an operation is recorded with: names and what they stand for, as JavaScript and C++ give them. They name
// resources, never addresses.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <memory>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "device.h"
#include "hebb/operands.h"
#include "sparse_matrix.h"

namespace hebb {

inline Status refuse(std::string message) { return {Code::invalidArgument, std::move(message)}; }

/// One of the enumeration's values, by its name; `what` and `got` are for the message where it is none.
template <class E>
Status choose(const std::string& name, const std::string& what, const std::string& got, E* out) {
  std::string all;
  for (const auto& [text, value] : namesOf(E{})) {
    if (name == text) {
      *out = value;
      return {};
    }
    all += (all.empty() ? "'" : ", '") + std::string(text) + "'";
  }
  return refuse("Expected " + what + " to be one of " + all + ", got " + got);
}

/// What a buffer's elements are, as lib/tensor.ts names it.
enum class ElementType { float32, float64, int32, uint8, uint64 };
constexpr auto namesOf(ElementType) {
  using E = ElementType;
  return std::array{Named<E>{"float32", E::float32}, Named<E>{"float64", E::float64}, Named<E>{"int32", E::int32},
                    Named<E>{"uint8", E::uint8}, Named<E>{"uint64", E::uint64}};
}
const char* nameOf(ElementType type);
int64_t bytesOf(ElementType type);

/// The elements of the tensors that an array of T is.
template <class T>
constexpr ElementType elementTypeOf() {
  using Element = std::remove_const_t<T>;
  if constexpr (std::is_same_v<Element, float>) return ElementType::float32;
  if constexpr (std::is_same_v<Element, int32_t>) return ElementType::int32;
  if constexpr (std::is_same_v<Element, uint8_t>) return ElementType::uint8;
  if constexpr (std::is_same_v<Element, uint64_t>) return ElementType::uint64;
  if constexpr (std::is_same_v<Element, int64_t>) return ElementType::uint64;  // JavaScript's side of a count
  return ElementType::float64;                                                 // LossTotals
}

/// Elements of a buffer.
struct TensorView {
  std::shared_ptr<Buffer> buffer;
  ElementType type = ElementType::float32;
  int64_t first = 0, count = -1;  // -1: all from the first on, however many the buffer comes to have
};

/// Rows of a buffer of activations [panels][rows][panel].
struct ActivationsView {
  std::shared_ptr<Buffer> buffer;
  int32_t features = 0;         // of the view
  int32_t capacity = 0;         // columns that fit
  int32_t first = 0, rows = 0;  // the view's first row, and the buffer's rows; 0: the view is the whole
};

/// The view's shape on the device, without addresses; or why it does not fit its buffer. `name` is for messages.
Status shapeOf(const ActivationsView& view, const Device& device, const std::string& name, Activations* out);

// Memory for a recording. On the device's thread, or where no job is queued.

/// So many elements, all 0.
template <class T>
Status makeTensor(const std::shared_ptr<Device>& device, int64_t count, TensorView* out) {
  *out = {nullptr, elementTypeOf<T>()};
  return device->allocate(static_cast<size_t>(count) * sizeof(T), &out->buffer);
}
/// The elements that lie in host memory.
template <class T>
Status makeTensor(const std::shared_ptr<Device>& device, const std::vector<T>& host, TensorView* out) {
  HEBB_RETURN_IF_ERROR(makeTensor<T>(device, static_cast<int64_t>(host.size()), out));
  return device->backend().write(out->buffer->data(), host.data(), host.size() * sizeof(T));
}
/// Room for so many columns, all 0.
Status makeActivations(const std::shared_ptr<Device>& device, int32_t features, int32_t capacity, ActivationsView* out);

struct NamedOperand;

class Operands {
 public:
  Operands() = default;
  Operands(std::initializer_list<NamedOperand> operands);
  void add(NamedOperand operand);
  /// These and others.
  Operands with(const Operands& others) const;

  const struct Operand* find(const std::string& name) const;
  const std::vector<NamedOperand>& all() const { return all_; }

 private:
  std::vector<NamedOperand> all_;
};

using OperandList = std::vector<struct Operand>;

struct Operand {
  std::variant<double, int64_t, bool, std::string, TensorView, ActivationsView, std::shared_ptr<SparseMatrix>,
               OperandList, Operands>
      value;

  Operand(double number) : value(number) {}
  Operand(int64_t number) : value(number) {}
  Operand(int number) : value(int64_t{number}) {}
  Operand(bool flag) : value(flag) {}
  Operand(const char* name) : value(std::string(name)) {}
  Operand(std::string name) : value(std::move(name)) {}
  Operand(TensorView view) : value(std::move(view)) {}
  Operand(ActivationsView view) : value(std::move(view)) {}
  Operand(std::shared_ptr<SparseMatrix> links) : value(std::move(links)) {}
  Operand(OperandList list) : value(std::move(list)) {}
  Operand(Operands group) : value(std::move(group)) {}
};

struct NamedOperand {
  std::string name;
  Operand operand;
};

}  // namespace hebb
