// What each route of link prediction is expected to take, so that the faster one can be chosen: row_scorer.h is the
// sparse route, tile_scorer.h the dense one. The steps of both are counted on the topology at hand, O(links + neurons),
// and weighed by measured times; bench/cpp/routes.cc prints what this expects beside what it measures, and where the
// choice was wrong.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>

#include "hebb/link_prediction.h"

namespace hebb::cpu {

/// The links of a layer in both views, without values.
struct Topology {
  int32_t rows, cols;
  const int32_t *rowOffsets, *columnIndices, *columnOffsets, *rowIndices;
  int32_t rowDegree(int32_t row) const { return rowOffsets[row + 1] - rowOffsets[row]; }
  int32_t columnDegree(int32_t column) const { return columnOffsets[column + 1] - columnOffsets[column]; }
};

/// Seconds that choosing links takes on one thread, by each route.
struct RouteSeconds {
  double sparse, dense;
};

/// `lanes`: of the vectors in use, in floats. The times of a step, in ns, are a fit to 67 layers of 256 to 2048 neurons
/// a side and 0.1% to 50% density (processor time of one thread with AVX-512; half of what is measured lies within 25%
/// of it); narrower vectors take their lanes into account only.
inline RouteSeconds expectedSeconds(const Topology& t, LinkPredictor predictor, int lanes) {
  const bool byPaths = isByPaths(predictor);
  const double rows = t.rows, cols = t.cols, links = t.rowOffsets[t.rows];
  double counted = 0;  // steps of counting common neighbours, one by one
  double added = 0;    // terms, or places of an inner sum, that are added to a row's scores
  double walked = 0;   // by paths: one addition each
  double masked = 0;   // by paths, dense: additions of a vector where bits are set
  // Calls body(degree, steps of length two) for the neurons of a side.
  const auto each = [](int32_t nodes, const int32_t* offsets, const int32_t* indices, const int32_t* otherOffsets,
                       const auto& body) {
    for (int32_t n = 0; n < nodes; ++n) {
      double steps = 0;
      for (int32_t a = offsets[n]; a < offsets[n + 1]; ++a)
        steps += otherOffsets[indices[a] + 1] - otherOffsets[indices[a]];
      body(static_cast<double>(offsets[n + 1] - offsets[n]), steps);
    }
  };
  // How many neurons of a side so many steps lead to, if they lead anywhere.
  const auto distinct = [](double steps, double nodes) { return nodes * -std::expm1(-steps / nodes); };
  each(t.rows, t.rowOffsets, t.columnIndices, t.columnOffsets, [&](double degree, double steps) {
    counted += steps;
    if (!byPaths) added += degree * distinct(steps, rows);
  });
  each(t.cols, t.columnOffsets, t.rowIndices, t.rowOffsets, [&](double degree, double steps) {
    counted += steps;
    added += degree * distinct(steps, cols);
    walked += degree * steps;
    masked += degree * degree * cols / lanes;
  });
  // Coefficients of pairs of neurons, and scores offered, in vectors; and loads with additions.
  const double pairs = (rows * rows + cols * cols + rows * cols / 2) / lanes;
  const double loads = (byPaths ? links * (rows + 3 * cols) / 2 : links * (rows + cols) * 3 / 2) / lanes;
  const double nodes = links + rows + cols;
  if (byPaths)
    return {1e-9 * (17 * nodes + 14 * counted + 2 * added + 0.34 * walked),
            1e-9 * (4.7 * loads + 0.42 * masked + 18 * pairs)};
  return {1e-9 * (32 * nodes + 1.8 * added), 1e-9 * (1.2 * loads + 17 * pairs)};
}

}  // namespace hebb::cpu
