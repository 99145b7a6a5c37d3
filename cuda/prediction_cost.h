// What each route of link prediction is expected to take, so that 'auto' takes the faster one: row_scorer.cuh is the
// sparse route, tile_scorer.cuh the dense one. cpu/prediction_cost.h counts steps on the links at hand; here they are
// on the device, and asking for them would make the host wait. So this sees sizes alone, and takes links for spread
// evenly.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>

#include "prediction_figures.h"

namespace hebb::cuda {

/// Seconds that an update takes by each route.
struct RouteSeconds {
  double sparse, dense;
};

/// `links`: at most; the layer's capacity. Of predictors by nodes: their routes do the same work.
inline RouteSeconds expectedSeconds(int32_t rows, int32_t cols, int64_t links) {
  using namespace prediction_figures;
  constexpr double kTable = 2048;  // scoring::kColumns, those that the sparse route scores at once
  constexpr double kTile = 64;     // tile_scoring::kTile
  const double m = rows, n = cols, cells = m * n, l = std::min(static_cast<double>(links), cells);
  const double paths = l * l * l / cells;
  const double reached = n * -std::expm1(-paths / cells);  // columns that the paths of a row lead to
  const double parts = std::max(1.0, std::ceil(reached / kTable));
  const double lookUps = m * reached * l / n;
  const double down = std::ceil(m / kTile), across = std::ceil(n / kTile);
  const double waves = std::ceil(down * across / static_cast<double>(kTilesAtOnce));
  return {kUpdate + (kPath + (parts - 1) * kPathAgain) * paths + kLookUp * lookUps,
          kUpdate + kTileLaunches + kTileStep * waves * (down + across) + kTileLink * l};
}

}  // namespace hebb::cuda
