// Chooses new links where the dense gradient is largest (RigL; Evci et al., ICML 2020. GraNet; Liu et al., NeurIPS
// 2021).
#pragma once

#include <cstdint>

#include "hebb/activations.h"
#include "hebb/csr.h"
#include "hebb/operands.h"
#include "hebb/regrow.h"

namespace hebb {

/// Fills newRows, newColumns and newCount with as many missing links (of the kept topology) as bring the layer to
/// `count` links: those with the largest |sum over columns of outputGradient[i] input[j]|, ties in a seeded random
/// order. Links that were removed in this update are missing ones like all others. With fewer gradients that are not
/// zero than links to grow, all of these are taken and the rest is drawn uniformly from the others. The gradient of a
/// missing link is never stored: no array of rows x cols exists. One that is NaN or infinite is an error.
struct RegrowByGradient {
  Csr links;  // [M][N]
  LinkChanges changes;
  Activations input;               // [N][columns]
  Activations outputGradient;      // [M][columns]
  const double* count = nullptr;   // [1] device scalar: links after the update
  const double* update = nullptr;  // [1] device scalar: the update's number, part of the Philox counter
  uint64_t seed = 0;
  int32_t layer = 0;

  static constexpr auto operands() {
    using namespace declare;
    return std::tuple{sparse("links", &RegrowByGradient::links),
                      group("changes", &RegrowByGradient::changes, perLink<&RegrowByGradient::links>),
                      reads("input", &RegrowByGradient::input, colsOf<&RegrowByGradient::links>),
                      reads("outputGradient", &RegrowByGradient::outputGradient, rowsOf<&RegrowByGradient::links>),
                      scalar("count", &RegrowByGradient::count),
                      scalar("update", &RegrowByGradient::update),
                      seeded(&RegrowByGradient::seed),
                      integer("layer", &RegrowByGradient::layer, 0)};
  }
};

}  // namespace hebb
