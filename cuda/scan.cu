// Prefix sums in place. Up to kSingle elements one block walks through them; else each tile is added up, one block sums
// over the tiles, and each tile is summed from where the ones before it end. No block waits for another, and integers
// have no order: the same bits in every run.
//
// Roofline: 8 bytes an element from memory, 12 with tiles.
#include "scan.h"

#include "launch.cuh"

namespace hebb::cuda {
namespace {

constexpr int kThreads = 256, kItems = 8, kTile = kThreads * kItems, kWarps = kThreads / kWarp;
constexpr int64_t kSingle = 8 * kTile;

/// The sum of the values of the threads before this one, and of all. The whole block calls it; `warpSums` [kWarps] is
/// shared.
__device__ __forceinline__ int32_t sumBefore(int32_t value, int32_t* warpSums, int32_t* total) {
  const int lane = static_cast<int>(threadIdx.x) % kWarp, warp = static_cast<int>(threadIdx.x) / kWarp;
  int32_t sum = value;
#pragma unroll
  for (int distance = 1; distance < kWarp; distance *= 2) {
    const int32_t before = __shfl_up_sync(kWholeWarp, sum, static_cast<unsigned>(distance));
    if (lane >= distance) sum += before;
  }
  if (lane == kWarp - 1) warpSums[warp] = sum;
  __syncthreads();
  int32_t before = 0, all = 0;
#pragma unroll
  for (int w = 0; w < kWarps; ++w) {
    if (w == warp) before = all;
    all += warpSums[w];
  }
  __syncthreads();  // the next call writes warpSums again
  *total = all;
  return before + sum - value;
}

/// Sums over one tile, starting at `carry`. Returns what the next tile starts at.
__device__ __forceinline__ int32_t sumTile(int32_t* data, int64_t n, int64_t first, int32_t carry, int32_t* warpSums) {
  const int64_t begin = first + static_cast<int64_t>(threadIdx.x) * kItems;
  int32_t item[kItems], sum = 0, total;
#pragma unroll
  for (int i = 0; i < kItems; ++i) {
    item[i] = begin + i < n ? data[begin + i] : 0;
    sum += item[i];
  }
  int32_t at = carry + sumBefore(sum, warpSums, &total);
#pragma unroll
  for (int i = 0; i < kItems; ++i) {
    if (begin + i < n) data[begin + i] = at;
    at += item[i];
  }
  return carry + total;
}

__global__ void __launch_bounds__(kThreads) sumByOneBlock(int32_t* data, int64_t n) {
  HEBB_SHARED(int32_t, warpSums, [kWarps]);
  int32_t carry = 0;
  for (int64_t first = 0; first < n; first += kTile) carry = sumTile(data, n, first, carry, warpSums);
  if (threadIdx.x == 0) data[n] = carry;
}

__global__ void __launch_bounds__(kThreads) addTiles(const int32_t* data, int64_t n, int32_t* sums) {
  HEBB_SHARED(int32_t, warpSums, [kWarps]);
  const int64_t first = static_cast<int64_t>(blockIdx.x) * kTile;
  int32_t sum = 0, total;
#pragma unroll
  for (int i = 0; i < kItems; ++i) {
    const int64_t at = first + i * kThreads + static_cast<int64_t>(threadIdx.x);
    if (at < n) sum += data[at];
  }
  sumBefore(sum, warpSums, &total);
  if (threadIdx.x == 0) sums[blockIdx.x] = total;
}

__global__ void __launch_bounds__(kThreads) sumTiles(int32_t* data, int64_t n, const int32_t* sums) {
  HEBB_SHARED(int32_t, warpSums, [kWarps]);
  sumTile(data, n, static_cast<int64_t>(blockIdx.x) * kTile, sums[blockIdx.x], warpSums);
  if (blockIdx.x == 0 && threadIdx.x == 0) data[n] = sums[gridDim.x];
}

}  // namespace

Status prefixSums(Cuda& cuda, const char* operation, int32_t* data, int64_t n) {
  if (n <= kSingle) return launch(cuda, operation, sumByOneBlock, 1, dim3(kThreads), 0, data, n);
  const int64_t tiles = (n - 1) / kTile + 1;
  Scratch<int32_t> sums(cuda);
  HEBB_RETURN_IF_ERROR(sums.allocate(tiles + 1));
  HEBB_RETURN_IF_ERROR(launch(cuda, operation, addTiles, tiles, dim3(kThreads), 0, data, n, sums.data()));
  HEBB_RETURN_IF_ERROR(launch(cuda, operation, sumByOneBlock, 1, dim3(kThreads), 0, sums.data(), tiles));
  return launch(cuda, operation, sumTiles, tiles, dim3(kThreads), 0, data, n, sums.data());
}

}  // namespace hebb::cuda
