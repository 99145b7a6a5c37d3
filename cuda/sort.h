// Sorting on the device.
#pragma once

#include "cuda.h"

namespace hebb::cuda {

/// Sorts the first *count of `capacity` keys by their bits [firstBit, firstBit + bits), ascending; keys that are equal
/// there keep their order. values [capacity], unless null, move with their keys. All pointers are device memory; count
/// is at most capacity.
Status sortKeys(Cuda& cuda, const char* operation, uint64_t* keys, uint32_t* values, int64_t capacity,
                const int32_t* count, int firstBit, int bits);

/// The bits that numbers below `range` have.
inline int bitsOf(int64_t range) {
  int bits = 0;
  while (bits < 63 && (int64_t{1} << bits) < range) ++bits;
  return bits;
}

}  // namespace hebb::cuda
