// Where things are in sorted arrays, found by one thread.
#pragma once

#include "launch.cuh"

namespace hebb::cuda {

/// The first place in [begin, end) of an ascending array whose element is not below `value`; `end` if there is none.
template <class T>
__device__ __forceinline__ int32_t lowerBound(const T* array, int32_t begin, int32_t end, T value) {
  while (begin < end) {
    const int32_t middle = begin + (end - begin) / 2;
    if (array[middle] < value) begin = middle + 1;
    else end = middle;
  }
  return begin;
}

/// The row (or, of the CSC view, the column) of place `k`, which is below offsets[rows].
__device__ __forceinline__ int32_t rowOf(const int32_t* offsets, int32_t rows, int32_t k) {
  return lowerBound(offsets, 1, rows + 1, k + 1) - 1;
}

/// The first of n links, by row, then column, that is not before (row, column).
__device__ __forceinline__ int32_t lowerBound(const int32_t* rows, const int32_t* columns, int32_t n, int32_t row,
                                              int32_t column) {
  int32_t begin = 0, end = n;
  while (begin < end) {
    const int32_t middle = begin + (end - begin) / 2;
    if (rows[middle] < row || (rows[middle] == row && columns[middle] < column)) begin = middle + 1;
    else end = middle;
  }
  return begin;
}

/// The element of the grid that this thread is: kernels over n elements are launched with blocksFor(n) blocks of kBlock
/// threads.
inline constexpr int kBlock = 256;
inline int64_t blocksFor(int64_t n) { return n > 0 ? (n - 1) / kBlock + 1 : 0; }
__device__ __forceinline__ int64_t element() {
  return static_cast<int64_t>(blockIdx.x) * kBlock + static_cast<int64_t>(threadIdx.x);
}

}  // namespace hebb::cuda
