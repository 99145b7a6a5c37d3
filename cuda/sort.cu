// A stable radix sort, eight bits a pass, from the lowest: every tile of 2048 keys counts its digits, a prefix sum over
// [digit][tile] gives each tile its places, and the tile moves its keys there, those of a digit in their order. Which
// thread comes first decides nothing. Tiles are cut from the capacity; those past *count count nothing.
//
// Roofline, for a pass over n keys of b bytes (8, or 12 with a value): 8 n + 2 b n bytes from memory. The moves are
// scattered over 256 runs.
#include "sort.h"

#include "launch.cuh"
#include "scan.h"

namespace hebb::cuda {
namespace {

constexpr int kThreads = 256, kItems = 8, kTile = kThreads * kItems, kWarps = kThreads / kWarp;
constexpr int kDigitBits = 8, kDigits = 1 << kDigitBits;
static_assert(kDigits == kThreads, "a thread a digit");

struct Pass {
  const uint64_t* keys;
  const uint32_t* values;  // or null
  uint64_t* sortedKeys;
  uint32_t* sortedValues;
  const int32_t* count;
  int32_t* places;  // [kDigits][tiles], counts and then first places
  int32_t tiles;
  int shift;
  uint32_t mask;
};

__device__ __forceinline__ int digitOf(const Pass& pass, uint64_t key) {
  return static_cast<int>(static_cast<uint32_t>(key >> pass.shift) & pass.mask);
}

__global__ void __launch_bounds__(kThreads) countDigits(Pass pass) {
  HEBB_SHARED(int32_t, counts, [kDigits]);
  const int thread = static_cast<int>(threadIdx.x);
  const int64_t first = static_cast<int64_t>(blockIdx.x) * kTile, end = *pass.count;
  counts[thread] = 0;
  __syncthreads();
#pragma unroll
  for (int i = 0; i < kItems; ++i) {
    const int64_t at = first + i * kThreads + thread;
    if (at < end) atomicAdd(&counts[digitOf(pass, pass.keys[at])], 1);
  }
  __syncthreads();
  pass.places[static_cast<int64_t>(thread) * pass.tiles + static_cast<int32_t>(blockIdx.x)] = counts[thread];
}

/// A warp holds 256 neighbouring keys, 32 at a time: a key's place is behind those of its digit in the warps, rounds
/// and lanes before.
__global__ void __launch_bounds__(kThreads) moveKeys(Pass pass) {
  HEBB_SHARED(int32_t, next, [kWarps][kDigits]);
  const int thread = static_cast<int>(threadIdx.x), lane = thread % kWarp, warp = thread / kWarp;
  const int64_t first = static_cast<int64_t>(blockIdx.x) * kTile, end = *pass.count;
  if (first >= end) return;
#pragma unroll
  for (int w = 0; w < kWarps; ++w) next[w][thread] = 0;
  __syncthreads();
  uint64_t key[kItems];
  int32_t within[kItems];
#pragma unroll
  for (int i = 0; i < kItems; ++i) {
    const int64_t at = first + (warp * kItems + i) * kWarp + lane;
    const bool there = at < end;
    key[i] = there ? pass.keys[at] : 0;
    const int digit = there ? digitOf(pass, key[i]) : kDigits;
    const unsigned same = __match_any_sync(kWholeWarp, digit);
    const int leader = __ffs(static_cast<int>(same)) - 1;
    int32_t before = 0;
    if (there && lane == leader) {
      before = next[warp][digit];
      next[warp][digit] = before + __popc(same);
    }
    within[i] = __shfl_sync(kWholeWarp, before, leader) + __popc(same & ((1u << lane) - 1));
    __syncwarp();
  }
  __syncthreads();
  int32_t place = pass.places[static_cast<int64_t>(thread) * pass.tiles + static_cast<int32_t>(blockIdx.x)];
#pragma unroll
  for (int w = 0; w < kWarps; ++w) {
    const int32_t count = next[w][thread];
    next[w][thread] = place;
    place += count;
  }
  __syncthreads();
#pragma unroll
  for (int i = 0; i < kItems; ++i) {
    const int64_t at = first + (warp * kItems + i) * kWarp + lane;
    if (at >= end) continue;
    const int32_t to = next[warp][digitOf(pass, key[i])] + within[i];
    pass.sortedKeys[to] = key[i];
    if (pass.values) pass.sortedValues[to] = pass.values[at];
  }
}

__global__ void __launch_bounds__(kThreads) copyBack(Pass pass) {
  const int64_t at = static_cast<int64_t>(blockIdx.x) * kThreads + static_cast<int64_t>(threadIdx.x);
  if (at >= *pass.count) return;
  pass.sortedKeys[at] = pass.keys[at];
  if (pass.values) pass.sortedValues[at] = pass.values[at];
}

}  // namespace

Status sortKeys(Cuda& cuda, const char* operation, uint64_t* keys, uint32_t* values, int64_t capacity,
                const int32_t* count, int firstBit, int bits) {
  if (bits <= 0 || capacity < 1) return {};
  const int64_t tiles = (capacity - 1) / kTile + 1;
  Scratch<uint64_t> spareKeys(cuda);
  Scratch<uint32_t> spareValues(cuda);
  Scratch<int32_t> places(cuda);
  HEBB_RETURN_IF_ERROR(spareKeys.allocate(capacity));
  HEBB_RETURN_IF_ERROR(spareValues.allocate(values ? capacity : 0));
  HEBB_RETURN_IF_ERROR(places.allocate(kDigits * tiles + 1));
  Pass pass{keys, values, spareKeys.data(), spareValues.data(), count, places.data(), static_cast<int32_t>(tiles),
            0,    0};
  for (int done = 0; done < bits; done += kDigitBits) {
    const int left = bits - done;
    pass.shift = firstBit + done;
    pass.mask = (1u << (left < kDigitBits ? left : kDigitBits)) - 1;
    HEBB_RETURN_IF_ERROR(launch(cuda, operation, countDigits, tiles, dim3(kThreads), 0, pass));
    HEBB_RETURN_IF_ERROR(prefixSums(cuda, operation, pass.places, kDigits * tiles));
    HEBB_RETURN_IF_ERROR(launch(cuda, operation, moveKeys, tiles, dim3(kThreads), 0, pass));
    const bool inSpare = pass.sortedKeys == spareKeys.data();
    pass.keys = pass.sortedKeys;
    pass.values = values ? pass.sortedValues : nullptr;
    pass.sortedKeys = inSpare ? keys : spareKeys.data();
    pass.sortedValues = inSpare ? values : spareValues.data();
  }
  if (pass.keys == keys) return {};
  return launch(cuda, operation, copyBack, (capacity - 1) / kThreads + 1, dim3(kThreads), 0, pass);
}

}  // namespace hebb::cuda
