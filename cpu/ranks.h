// The ranks (64-bit keys, see hebb/sample.h) of W elements at once.
#pragma once

#include <algorithm>
#include <limits>

#include "level.h"

namespace hebb::cpu::HEBB_LEVEL {

/// Where the random numbers of a choice come from.
struct Draw {
  uint64_t seed;
  uint32_t step, purpose;
};

/// Keys and random words of W elements at (rows[i], columns[i]). With `soft`, keys of zero scores are -infinity.
HEBB_INLINE void keysOf(Vec score, UintVec rows, UintVec columns, const Draw& draw, bool soft, float temperature, Vec& key, UintVec& random, UintVec& tie) {
  philoxLanes(draw.seed, rows, columns, draw.step, draw.purpose, random, tie);
  if (!soft) {
    key = score;
    return;
  }
  const Vec sampled = samplingKey(score, toFloat(random), splat(temperature));
  key = score > Vec{} ? sampled : splat(-std::numeric_limits<float>::infinity());
}

/// The rank of lane i. Soft choices put zero scores into a class of their own, below all others.
HEBB_INLINE uint64_t rankAt(Vec key, UintVec random, UintVec tie, bool soft, int i) {
  return soft && key[i] == -std::numeric_limits<float>::infinity() ? rankOfZero(random[i], tie[i]) : rankOf(key[i], tie[i]);
}

/// The smallest rank among the `count` largest of `ranks` (which is reordered). count >= 1.
inline uint64_t thresholdOf(uint64_t* ranks, int64_t n, int64_t count) {
  std::nth_element(ranks, ranks + (n - count), ranks + n);
  return ranks[n - count];
}

}  // namespace hebb::cpu::HEBB_LEVEL
