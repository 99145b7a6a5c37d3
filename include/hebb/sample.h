// Sampling without replacement with probabilities proportional to score^T, by an exponential race: key = T
// log2(score) - log2(E), E an exponential variate of the link's own place in the network; the k largest keys win. Equal
// in law to sequential draws (Efraimidis and Spirakis 2006). score^T is never formed. Zero scores rank below every
// positive one, at every T.
#pragma once

#include <cstdint>
#include <vector>

#include "hebb/csr.h"
#include "hebb/logarithm.h"
#include "hebb/operands.h"
#include "hebb/philox.h"

namespace hebb {

/// An unsigned integer that orders as the float does. NaN must have been excluded.
HEBB_INLINE uint32_t orderedBits(float x) {
  const uint32_t bits = static_cast<uint32_t>(LaneTraits<float>::toBits(x));
  return bits ^ (static_cast<uint32_t>(static_cast<int32_t>(bits) >> 31) | 0x80000000u);
}

/// The float whose orderedBits these are.
HEBB_INLINE float floatOfOrdered(uint32_t ordered) {
  return LaneTraits<float>::fromBits(static_cast<int32_t>(ordered & 0x80000000u ? ordered & 0x7FFFFFFFu : ~ordered));
}

/// The uniform variate of 32 random bits, inside (0, 1 - 2^-24].
template <class F>
HEBB_INLINE F clampedUniform(F randomAsFloat) {
  using T = LaneTraits<F>;
  const F v = (randomAsFloat + T::splat(0.5f)) * T::splat(0x1p-32f);
  return T::select(v < T::splat(1.f - 0x1p-24f), v, T::splat(1.f - 0x1p-24f));
}

/// The sampling key of a positive score; `random` is the first Philox word as a float.
template <class F>
HEBB_INLINE F samplingKey(F score, F random, F temperature) {
  using T = LaneTraits<F>;
  const F race = log2Exact(exponentialFromUniform(clampedUniform(random)));
  return T::fma(temperature, log2Exact(score), T::splat(0.f) - race);
}

/// 64-bit rank of an element: the key above, a tie word below. Larger is better. Keys are finite, so zero scores, which
/// get the 23 bits under the bits of -infinity, come last.
HEBB_INLINE uint64_t rankOf(float key, uint32_t tie) { return static_cast<uint64_t>(orderedBits(key)) << 32 | tie; }
HEBB_INLINE uint64_t rankOfZero(uint32_t random, uint32_t tie) {
  return static_cast<uint64_t>(random >> 9) << 32 | tie;
}

HEBB_PURPOSE(kPruneDraws, 4);
HEBB_PURPOSE(kRemoveDraws, 5);

constexpr auto namesOf(Purpose) {
  return std::array{Named<Purpose>{"prune", kPruneDraws}, Named<Purpose>{"remove", kRemoveDraws}};
}

/// Keeps `count` of the links that are still kept (keep = 1) and clears the others' flags; all stay when there are no
/// more than that.
struct KeepLinks {
  Csr links;
  const float* scores = nullptr;        // [links] device, non-negative
  uint8_t* keep = nullptr;              // [links] device, 0 or 1
  const double* count = nullptr;        // [1] device scalar
  const double* temperature = nullptr;  // [1] device scalar; null: keep the largest, ties in a seeded random order
  const double* update = nullptr;       // [1] device scalar: the update's number, part of the Philox counter
  uint64_t seed = 0;
  Purpose purpose = kRemoveDraws;
  int32_t layer = 0;

  static constexpr auto operands() {
    using namespace declare;
    return std::tuple{sparse("links", &KeepLinks::links),
                      reads("scores", &KeepLinks::scores, perLink<&KeepLinks::links>),
                      updates("keep", &KeepLinks::keep, perLink<&KeepLinks::links>).transient(),
                      scalar("count", &KeepLinks::count),
                      scalar("temperature", &KeepLinks::temperature).optional(),
                      scalar("update", &KeepLinks::update),
                      seeded(&KeepLinks::seed),
                      choice("purpose", &KeepLinks::purpose),
                      integer("layer", &KeepLinks::layer, 0)};
  }
};

/// Draws k of n scores; the answer goes to host memory, ascending.
struct SampleScores {
  const float* scores = nullptr;  // [n] host
  int64_t n = 0, k = 0;
  float temperature = 1;
  uint64_t seed = 0;
  std::vector<int64_t>* indices = nullptr;
};

}  // namespace hebb
