// Radix select: six passes over the ranks find, digit by digit of 11 bits, the smallest among the best ones. What one
// pass finds stays in device memory, where the next one reads it; passes that have nothing left to do return at once.
//
// Roofline: 8 bytes a rank and pass. Counting is bound by the atomics in shared memory where most ranks share a digit.
#include "ranks.cuh"

#include "launch.cuh"

namespace hebb::cuda {
namespace {

constexpr int kThreads = 256, kBins = kDigits / kThreads;
constexpr int64_t kBlocks = 1024;  // more would only add histograms

__global__ void begin(Threshold* threshold, const int32_t* wanted) {
  const int32_t n = *wanted > 0 ? *wanted : 0;
  *threshold = {n > 0 ? 0 : UINT64_MAX, n, n, n == 0};
}

__global__ void __launch_bounds__(kThreads) countRanks(const uint64_t* ranks, int64_t capacity, const int32_t* count,
                                                       const Threshold* threshold, int pass, Count* all) {
  HEBB_SHARED(int32_t, bins, [kDigits]);
  if (threshold->settled) return;
  const Threshold known = *threshold;
  clearBins(bins);
  __syncthreads();
  const int64_t n = *count < capacity ? *count : capacity, stride = static_cast<int64_t>(gridDim.x) * kThreads;
  for (int64_t i = static_cast<int64_t>(blockIdx.x) * kThreads + static_cast<int64_t>(threadIdx.x); i < n; i += stride)
    countRank(known, pass, ranks[i], bins);
  __syncthreads();
  addBins(bins, all);
}

/// One block; thread 0 has the highest digits.
__global__ void __launch_bounds__(kThreads) pick(Threshold* threshold, int pass, Count* bins, int64_t room) {
  HEBB_SHARED(int64_t, sums, [kThreads]);
  if (threshold->settled) return;
  const Threshold known = *threshold;
  const int thread = static_cast<int>(threadIdx.x), highest = kDigits - 1 - thread * kBins;
  int64_t mine = 0;
#pragma unroll
  for (int i = 0; i < kBins; ++i) mine += static_cast<int64_t>(bins[highest - i]);
  sums[thread] = mine;
  __syncthreads();
  for (int distance = 1; distance < kThreads; distance *= 2) {
    const int64_t before = thread >= distance ? sums[thread - distance] : 0;
    __syncthreads();
    sums[thread] += before;
    __syncthreads();
  }
  const int64_t total = sums[kThreads - 1];
  int64_t above = sums[thread] - mine;
  const bool here = above < known.left && known.left <= sums[thread];
  if (total <= known.left && thread == 0) {
    threshold->left = INT32_MAX;  // all of them
    threshold->settled = 1;
  }
#pragma unroll
  for (int i = 0; i < kBins; ++i) {
    const int64_t inside = static_cast<int64_t>(bins[highest - i]);
    bins[highest - i] = 0;
    if (here && total > known.left && above < known.left && known.left <= above + inside) {
      threshold->rank = known.rank | static_cast<uint64_t>(highest - i) << digitShift(pass);
      threshold->left = static_cast<int32_t>(known.left - above);
      const int64_t candidates = int64_t{known.wanted} - known.left + above + inside;
      threshold->settled = pass == kPasses - 1 || candidates <= room;
    }
    above += inside;
  }
}

}  // namespace

Status beginThreshold(Cuda& cuda, const char* operation, Threshold* threshold, const int32_t* wanted) {
  return launch(cuda, operation, begin, 1, dim3(1), 0, threshold, wanted);
}

Status pickDigit(Cuda& cuda, const char* operation, Threshold* threshold, int pass, Count* bins, int64_t room) {
  return launch(cuda, operation, pick, 1, dim3(kThreads), 0, threshold, pass, bins, room);
}

Status thresholdOf(Cuda& cuda, const char* operation, const uint64_t* ranks, int64_t capacity, const int32_t* count,
                   const int32_t* wanted, Threshold* threshold) {
  Scratch<Count> bins(cuda);
  HEBB_RETURN_IF_ERROR(bins.allocate(kDigits));
  HEBB_RETURN_IF_ERROR(beginThreshold(cuda, operation, threshold, wanted));
  const int64_t all = (capacity - 1) / kThreads + 1, blocks = all < kBlocks ? all : kBlocks;
  for (int pass = 0; pass < kPasses; ++pass) {
    HEBB_RETURN_IF_ERROR(launch(cuda, operation, countRanks, blocks, dim3(kThreads), 0, ranks, capacity, count,
                                threshold, pass, bins.data()));
    HEBB_RETURN_IF_ERROR(pickDigit(cuda, operation, threshold, pass, bins.data(), 0));
  }
  return {};
}

}  // namespace hebb::cuda
