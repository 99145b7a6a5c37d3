// Scores of missing links from the topology alone (Cannistraci-Hebb network automata on paths of length three).
#pragma once

#include <cstdint>
#include <vector>

#include "hebb/csr.h"
#include "hebb/operands.h"

namespace hebb {

/// With UU and VV the common neighbours of two outputs and of two inputs, d degrees, and s = UU[u,k] or VV[v,b]:
///   L3n(u,v) = sum over k != u with A[k,v] = 1 and s > 0 of n(s) / max(d[k] - s, 1)
///              +  the same over b != v with A[u,b] = 1
///   L3p(u,v) = sum over paths u - a - k - v of sqrt(n(VV[a,v]) n(UU[u,k]) / ((d[a] - VV[a,v]) (d[k] - UU[u,k])))
enum class LinkPredictor : int32_t {
  none = 0,    // no scores: every missing link is alike
  ch2L3n = 1,  // CH2-L3n, by nodes: n(s) = 1 + s
  ch3L3n = 2,  // CH3-L3n, by nodes: n(s) = 1
  ch2L3p = 3,  // CH2-L3p, by paths: n(s) = 1 + s
  ch3L3p = 4,  // CH3-L3p, by paths: n(s) = 1
};

constexpr auto namesOf(LinkPredictor) {
  return std::array{
      Named<LinkPredictor>{"none", LinkPredictor::none}, Named<LinkPredictor>{"CH2-L3n", LinkPredictor::ch2L3n},
      Named<LinkPredictor>{"CH3-L3n", LinkPredictor::ch3L3n}, Named<LinkPredictor>{"CH2-L3p", LinkPredictor::ch2L3p},
      Named<LinkPredictor>{"CH3-L3p", LinkPredictor::ch3L3p}};
}

constexpr bool isByPaths(LinkPredictor predictor) {
  return predictor == LinkPredictor::ch2L3p || predictor == LinkPredictor::ch3L3p;
}
/// Whether the internal degree counts: n(s) = 1 + s.
constexpr bool isCh2(LinkPredictor predictor) {
  return predictor == LinkPredictor::ch2L3n || predictor == LinkPredictor::ch2L3p;
}

/// How scores are computed. The sparse routes of all backends give the same bits, and so does the CPU's dense route;
/// that of a GPU, on tensor cores, has a relative error of about 1e-6 (an H100 showed 1.3e-6 at most). Choices by its
/// scores can differ from the CPU's where two keys are as close as that.
enum class PredictionRoute : int32_t {
  /// What the backend's cost model expects to be faster, within kDenseRouteBytes: a CPU's by the links, a GPU's by
  /// rows, columns and capacity (cuda/prediction_cost.h; Backend::predictionRoute() tells it). A GPU opened with
  /// Deterministic::everywhere takes `sparse`: all backends choose the same links.
  automatic = 0,
  /// Row by row, along the links: O(links + neurons) memory a thread, and coefficients as far as they fit.
  sparse = 1,
  /// Tiles of scores from a bitmap or coefficients of all pairs: min(rows, cols)^2 memory. Code::unsupported where that
  /// is above kDenseRouteBytes, or where the backend has no dense route for the predictor: a GPU has it for those by
  /// nodes, up to 16384 neurons a side.
  dense = 2,
};

constexpr auto namesOf(PredictionRoute) {
  return std::array{Named<PredictionRoute>{"auto", PredictionRoute::automatic},
                    Named<PredictionRoute>{"sparse", PredictionRoute::sparse},
                    Named<PredictionRoute>{"dense", PredictionRoute::dense}};
}

/// Bytes that arrays of pairs of neurons may take in the dense route.
inline constexpr int64_t kDenseRouteBytes = int64_t{256} << 20;

/// The missing links with a nonzero score, by row, then column.
struct LinkScores {
  std::vector<int32_t> row, col;
  std::vector<float> score;
};

/// Scores all missing links into host memory. For inspection and tests: the answer can be as large as rows x cols.
/// Training uses Regrow, which never holds more than the links to grow.
struct PredictLinks {
  Csr links;
  LinkPredictor predictor = LinkPredictor::ch2L3n;
  LinkScores* result = nullptr;
  PredictionRoute route = PredictionRoute::automatic;
};

}  // namespace hebb
