// Initial weights.
#pragma once

#include <cmath>
#include <cstdint>

#include "hebb/csr.h"
#include "hebb/logarithm.h"
#include "hebb/operands.h"
#include "hebb/philox.h"

namespace hebb {

/// Weights drawn at the links' coordinates: the same link gets the same weight whatever the others are. With
/// pattern.columnOffsets null: a dense [rows][cols] matrix.
struct InitialWeights {
  Csr pattern;
  float* values = nullptr;  // device
  double deviation = 1;
  uint64_t seed = 0;
  int32_t layer = 0;

  static constexpr auto operands() {
    using namespace declare;
    using Op = InitialWeights;
    return std::tuple{
        sparseOrShape("pattern", &Op::pattern),
        writes("values", &Op::values,
               [](const Op& op, int64_t) {
                 return op.pattern.capacity ? op.pattern.capacity : int64_t{op.pattern.rows} * op.pattern.cols;
               }),
        number("deviation", &Op::deviation).optional(), seeded(&Op::seed), integer("layer", &Op::layer, 0)};
  }
};

/// values[l] ~ N(0, deviation^2).
struct InitializeNormal {
  InitialWeights weights;

  static constexpr auto operands() {
    using namespace declare;
    return std::tuple{group(nullptr, &InitializeNormal::weights, outside<InitializeNormal>)};
  }
};

/// values[l] uniform between -sqrt(3) deviation and sqrt(3) deviation, so that deviation is theirs.
struct InitializeUniform {
  InitialWeights weights;

  static constexpr auto operands() {
    using namespace declare;
    return std::tuple{group(nullptr, &InitializeUniform::weights, outside<InitializeUniform>)};
  }
};

/// A standard normal variate of the place (row, column), by Marsaglia's polar method. Only exactly rounded operations
/// and our own logarithm: the same bits on every machine. The third counter word counts the attempts (1.27 on average).
/// `purpose` is a purposeWord().
HEBB_INLINE double normalAt(uint64_t seed, uint32_t row, uint32_t column, uint32_t purpose) {
  for (uint32_t attempt = 0;; ++attempt) {
    const Philox p = philox(seed, row, column, attempt, purpose);
    const double u = 2 * unitInterval(p.word[0], p.word[1]) - 1, v = 2 * unitInterval(p.word[2], p.word[3]) - 1;
    const double s = u * u + v * v;
    if (s >= 1 || s < 1e-30) continue;
    const double log = static_cast<double>(log2Exact(static_cast<float>(s))) * 0.69314718055994531;
    // The float of an s just below 1 may be 1 itself, whose logarithm is 0.
    return u * std::sqrt(-2 * log / s);
  }
}

/// The weight of a place.
HEBB_INLINE float weightAt(const InitializeNormal& op, int64_t row, int64_t column) {
  const InitialWeights& w = op.weights;
  const uint32_t purpose = purposeWord(kWeightDraws, static_cast<uint32_t>(w.layer));
  return static_cast<float>(w.deviation *
                            normalAt(w.seed, static_cast<uint32_t>(row), static_cast<uint32_t>(column), purpose));
}
HEBB_INLINE float weightAt(const InitializeUniform& op, int64_t row, int64_t column) {
  const InitialWeights& w = op.weights;
  const Philox p = philox(w.seed, static_cast<uint32_t>(row), static_cast<uint32_t>(column), 0,
                          purposeWord(kWeightDraws, static_cast<uint32_t>(w.layer)));
  constexpr double kRootOf3 = 1.7320508075688772;
  return static_cast<float>(w.deviation * kRootOf3 * (2 * unitInterval(p.word[0], p.word[1]) - 1));
}

}  // namespace hebb
