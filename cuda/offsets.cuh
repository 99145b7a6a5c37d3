// Where sequences begin and end along an axis of columns.
#pragma once

#include "launch.cuh"

namespace hebb::cuda {

/// Reports the first of [count + 1] offsets that does not ascend from 0 to the columns. Called by a whole block of
/// `Threads`.
template <int Threads>
__device__ __forceinline__ void reportOffsets(const int32_t* offsets, int32_t count, int32_t columns, Problem problem,
                                              Failure* failure) {
  HEBB_SHARED(int32_t, least, [1]);
  const int thread = static_cast<int>(threadIdx.x);
  __syncthreads();
  if (thread == 0) least[0] = count + 1;
  __syncthreads();
  int32_t bad = count + 1;
  for (int32_t s = thread; s <= count && bad > count; s += Threads) {
    const int32_t low = s == 0 ? 0 : offsets[s - 1], high = s == 0 ? 0 : columns;
    if (offsets[s] < low || offsets[s] > high || (s == count && offsets[s] != columns)) bad = s;
  }
  if (bad <= count) atomicMin(&least[0], bad);
  __syncthreads();
  if (least[0] > count || thread != 0) return;
  failure->limit = columns;
  failure->place = least[0];
  failure->got = offsets[least[0]];
  storeRacing(&failure->problem, problem);
}

/// The first sequence that ends behind the column.
__device__ __forceinline__ int32_t sequenceOf(const int32_t* offsets, int32_t count, int32_t column) {
  int32_t low = 0, high = count - 1;
  while (low < high) {
    const int32_t middle = low + (high - low) / 2;
    if (loadReused(offsets + middle + 1) > column) high = middle;
    else low = middle + 1;
  }
  return low;
}

}  // namespace hebb::cuda
