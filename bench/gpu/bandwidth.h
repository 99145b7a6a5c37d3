// What the GPU's memory gives, measured by kernels of our own: the roofs that kernels.cc holds the library's kernels
// against.
#pragma once

#include "hebb/backend.h"

namespace hebb::bench {

enum class Traversal {
  readNear,  // 32 KiB that every multiprocessor keeps in its L1
  read,      // past L1: from L2, or from memory where the bytes do not fit
  copy,      // the same, read and written
};

/// Queues `passes` passes over `bytes` of `from` (a copy: to `to`, which is as large). Both are device memory; bytes is
/// a multiple of kChunkBytes. `moved` becomes the bytes that all blocks together read and write.
Status traverse(Backend& backend, Traversal what, const float* from, float* to, int64_t bytes, int32_t passes,
                double* moved);

/// The size of the GPU's L2.
Status secondCacheOf(Backend& backend, int64_t* bytes);

inline constexpr int64_t kChunkBytes = 16384;

}  // namespace hebb::bench
