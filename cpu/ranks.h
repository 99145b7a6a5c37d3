// The ranks (64-bit keys, see hebb/sample.h) of W elements at once.
#pragma once

#include <algorithm>
#include <limits>

#include "cpu.h"
#include "level.h"
#include "hebb/sample.h"

namespace hebb::cpu::HEBB_LEVEL {

/// Where the random numbers of a choice come from.
struct Draw {
  uint64_t seed;
  uint32_t step, purpose;
};

/// Keys and random words of W elements at (rows[i], columns[i]). With `soft`, keys of zero scores are -infinity.
HEBB_INLINE void keysOf(Vec score, UintVec rows, UintVec columns, const Draw& draw, bool soft, float temperature,
                        Vec& key, UintVec& random, UintVec& tie) {
  UintVec words[4];
  philoxLanes(draw.seed, rows, columns, draw.step, draw.purpose, words);
  random = words[0];
  tie = words[1];
  if (!soft) {
    key = score;
    return;
  }
  const Vec sampled = samplingKey(score, toFloat(random), splat(temperature));
  key = score > Vec{} ? sampled : splat(-std::numeric_limits<float>::infinity());
}

/// The ranks of W elements: the upper and the lower words. Soft choices put zero scores into a class of their own,
/// below all others.
HEBB_INLINE void ranksOf(Vec key, UintVec random, UintVec tie, bool soft, uint32_t (&upper)[W], uint32_t (&lower)[W]) {
  const IntVec bits = (IntVec)key;
  UintVec ordered = (UintVec)(bits ^ ((bits >> 31) | INT32_MIN));
  if (soft) ordered = key == splat(-std::numeric_limits<float>::infinity()) ? random >> 9 : ordered;
  __builtin_memcpy(upper, &ordered, sizeof upper);
  __builtin_memcpy(lower, &tie, sizeof lower);
}

/// The smallest rank among the `count` largest of n, count >= 1. Histograms of the upper bits find the few that it must
/// be among.
inline Status thresholdOf(Cpu& cpu, const uint64_t* ranks, int64_t n, int64_t count, uint64_t* threshold) {
  constexpr int64_t kBins = 4096;
  constexpr int kShift = 52;
  const int64_t chunks = chunksFor(cpu, n, 65536);
  Scratch<int32_t> bins(cpu);
  HEBB_RETURN_IF_ERROR(bins.allocate(chunks * kBins));
  cpu.team.parallel(chunks, [&](int64_t chunk, int) {
    int32_t* mine = bins.data() + chunk * kBins;
    for (int64_t i = n * chunk / chunks; i < n * (chunk + 1) / chunks; ++i) ++mine[ranks[i] >> kShift];
  });
  int64_t above = 0, inside = 0, bin = kBins;
  while (above + inside < count) {
    above += inside;
    inside = 0;
    --bin;
    for (int64_t chunk = 0; chunk < chunks; ++chunk) inside += bins[chunk * kBins + bin];
  }
  Scratch<uint64_t> among(cpu);
  HEBB_RETURN_IF_ERROR(among.allocate(inside + 1));
  for (int64_t i = 0, at = 0; i < n; ++i) {
    among[at] = ranks[i];
    at += ranks[i] >> kShift == static_cast<uint64_t>(bin);
  }
  uint64_t* const wanted = among.data() + (inside - (count - above));
  std::nth_element(among.data(), wanted, among.data() + inside);
  *threshold = *wanted;
  return {};
}

}  // namespace hebb::cpu::HEBB_LEVEL
