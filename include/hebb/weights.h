// Initial weights.
#pragma once

#include <cmath>
#include <cstdint>

#include "hebb/csr.h"
#include "hebb/logarithm.h"
#include "hebb/operands.h"
#include "hebb/philox.h"

namespace hebb {

/// values[l] ~ N(0, deviation^2), drawn at the link's coordinates: the same link gets the same weight whatever the
/// others are. With pattern.columnOffsets null: a dense [rows][cols] matrix.
struct InitializeNormal {
  Csr pattern;
  float* values = nullptr;  // device
  double deviation = 1;
  uint64_t seed = 0;
  int32_t layer = 0;

  static constexpr auto operands() {
    using namespace declare;
    return std::tuple{sparseOrShape("pattern", &InitializeNormal::pattern),
                      writes("values", &InitializeNormal::values,
                             [](const InitializeNormal& op, int64_t) {
                               return op.pattern.capacity ? op.pattern.capacity
                                                          : int64_t{op.pattern.rows} * op.pattern.cols;
                             }),
                      number("deviation", &InitializeNormal::deviation).optional(), seeded(&InitializeNormal::seed),
                      integer("layer", &InitializeNormal::layer, 0)};
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

}  // namespace hebb
