// Where the values of a step lie. They take memory in turn: those that are needed at the same time lie apart, and the
// others may lie in the same place. It is worked out once for a recording.
#pragma once

#include <memory>
#include <vector>

#include "recorded.h"

namespace hebb {

/// A Program's values, by who made them.
struct Values {
  const Placer* owner = nullptr;
  std::vector<std::shared_ptr<Buffer>> all;
  bool keepAll = false;

  Lifetime lifetimeOf(const Buffer& value) const { return keepAll ? Lifetime::kept : value.lifetime(); }
  /// Whether nothing outside of the step reads what the slot names.
  bool passes(const Slot& slot) const {
    return slot.buffer && slot.buffer->isValueOf(owner) && lifetimeOf(*slot.buffer) == Lifetime::step;
  }
};

/// Removes operations that write values alone of which nothing reads any.
std::vector<Recorded> removeUnread(std::vector<Recorded> recorded, const Values& values);

struct Plan {
  std::vector<size_t> offsets;  // of values.all
  size_t bytes = 0;             // of the workspace
};

/// Gives each value its place. An error where one is read that nothing has written.
Status plan(const std::vector<Recorded>& recorded, const Values& values, Plan* out);

}  // namespace hebb
