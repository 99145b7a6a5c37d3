// The ranks of elements (64-bit keys, see hebb/sample.h), and the smallest rank among the best ones.
#pragma once

#include "hebb/sample.h"
#include "launch.cuh"

namespace hebb::cuda {

/// Where the random numbers of a choice come from.
struct Draw {
  uint64_t seed;
  uint32_t step, purpose;
};

/// The rank of `score` at (row, column). Soft choices put zero scores into a class of their own, below all others.
__device__ __forceinline__ uint64_t rankAt(float score, uint32_t row, uint32_t column, const Draw& draw, bool soft,
                                           float temperature) {
  const Philox random = philox(draw.seed, row, column, draw.step, draw.purpose);
  if (!soft) return rankOf(score, random.word[1]);
  const float lowest = floatOfOrdered(0x007fffffu);  // -infinity
  const float key = score > 0.f ? samplingKey(score, static_cast<float>(random.word[0]), temperature) : lowest;
  return key == lowest ? rankOfZero(random.word[0], random.word[1]) : rankOf(key, random.word[1]);
}

/// The search for the smallest rank among the `wanted` best, in device memory: digit by digit, from the highest.
struct Threshold {
  uint64_t rank;  // what is known of it; the lower digits are 0
  int32_t wanted;
  int32_t left;     // of those, how many have the digits of `rank`: they are to be taken from the ones that do
  int32_t settled;  // nothing is left to find: all above `rank` win, and the first `left` of those at it
};

inline constexpr int kDigitBits = 11, kDigits = 1 << kDigitBits, kPasses = 6;

/// Where a pass finds its digit.
__host__ __device__ constexpr int digitShift(int pass) { return pass < kPasses - 1 ? 64 - kDigitBits * (pass + 1) : 0; }

/// Counts `rank` into a histogram in shared memory if its higher digits are those found so far.
__device__ __forceinline__ void countRank(const Threshold& threshold, int pass, uint64_t rank, int32_t* bins) {
  // The last digit has the bits that are left.
  const int shift = digitShift(pass), above = pass ? digitShift(pass - 1) : 0;
  if (pass && (rank ^ threshold.rank) >> above) return;
  const uint64_t digit = (pass < kPasses - 1 ? rank >> shift : rank) &
                         ((uint64_t{1} << (pass < kPasses - 1 ? kDigitBits : 64 - kDigitBits * (kPasses - 1))) - 1);
  atomicAdd(&bins[digit], 1);
}

/// A count of candidates, of which a huge layer has more than 2^32.
using Count = unsigned long long;

/// Adds a block's histogram to that of all blocks. Integers: in any order.
__device__ __forceinline__ void addBins(const int32_t* bins, Count* all) {
  for (int bin = static_cast<int>(threadIdx.x); bin < kDigits; bin += static_cast<int>(blockDim.x)) {
    if (bins[bin]) atomicAdd(&all[bin], static_cast<Count>(bins[bin]));
  }
}

__device__ __forceinline__ void clearBins(int32_t* bins) {
  for (int bin = static_cast<int>(threadIdx.x); bin < kDigits; bin += static_cast<int>(blockDim.x)) bins[bin] = 0;
}

/// Finds the digit of `pass` in the counts `bins` [kDigits], and clears these. Settles early when no more than `room`
/// ranks are at the threshold or above: then all above and all at it are among the candidates, for the caller to choose
/// from.
Status pickDigit(Cuda& cuda, const char* operation, Threshold* threshold, int pass, Count* bins, int64_t room);

/// Begins a search for the *wanted best.
Status beginThreshold(Cuda& cuda, const char* operation, Threshold* threshold, const int32_t* wanted);

/// The smallest rank among the *wanted best of the first *count of ranks [capacity]. Without a wanted one nothing is at
/// the threshold or above; when there are no more than these, all are.
Status thresholdOf(Cuda& cuda, const char* operation, const uint64_t* ranks, int64_t capacity, const int32_t* count,
                   const int32_t* wanted, Threshold* threshold);

}  // namespace hebb::cuda
