// Where sequences begin and end along an axis of columns.
#pragma once

#include <string>

#include "hebb/status.h"

namespace hebb::cpu {

/// Whether [count + 1] offsets ascend from 0 to the columns: they lie in memory that anyone may write. `name` is
/// theirs.
inline Status checkOffsets(const char* name, const int32_t* offsets, int32_t count, int32_t columns) {
  for (int32_t s = 0; s <= count; ++s) {
    const int32_t least = s == 0 ? 0 : offsets[s - 1], most = s == 0 ? 0 : columns;
    if (offsets[s] >= least && offsets[s] <= most && (s < count || offsets[s] == columns)) continue;
    return {Code::invalidArgument, std::string("Expected ") + name + " that ascend from 0 to the " +
                                       std::to_string(columns) + " columns, got " + std::to_string(offsets[s]) +
                                       " at " + std::to_string(s)};
  }
  return {};
}

}  // namespace hebb::cpu
