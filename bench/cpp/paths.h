// How many steps link prediction takes on a topology: what its rooflines count.
#pragma once

#include "fixture.h"

namespace hebb::bench {

/// Shapes whose prediction takes longer than a benchmark should.
inline bool tooManyPaths(const Shape& shape) {
  constexpr double kMost = 6e9;  // multiply-adds
  const double degree = shape.density * shape.cols, other = shape.density * shape.rows;
  return degree * other * (shape.rows * degree + shape.cols * other) > kMost;
}

/// Additions that scoring all rows takes, with the second sum's coefficients kept (cpu/row_scorer.h).
struct Steps {
  double scattered = 0;  // links walked to count common neighbours on both sides, and coefficients added one by one
  double dense = 0;      // coefficients added as whole rows, where an input has too many second neighbours to list them

  double all() const { return scattered + dense; }
};

/// `keep`: flags of the links, or null.
inline Steps stepsOf(const Csr& w, const uint8_t* keep) {
  const auto kept = [&](int32_t slot) { return !keep || keep[slot]; };
  std::vector<std::vector<int32_t>> rows(static_cast<size_t>(w.rows)), cols(static_cast<size_t>(w.cols));
  for (int32_t r = 0; r < w.rows; ++r) {
    for (int32_t k = w.rowOffsets[r]; k < w.rowOffsets[r + 1]; ++k) {
      if (!kept(k)) continue;
      rows[static_cast<size_t>(r)].push_back(w.columnIndices[k]);
      cols[static_cast<size_t>(w.columnIndices[k])].push_back(r);
    }
  }
  Steps steps;
  // Calls body(neighbour) once for every other neuron of `from`'s side that shares a neighbour with `from`.
  std::vector<int32_t> seen(static_cast<size_t>(std::max(w.rows, w.cols)), -1);
  const auto eachNeighbour = [&](int32_t from, const auto& out, const auto& back, const auto& body) {
    for (const int32_t middle : out[static_cast<size_t>(from)]) {
      for (const int32_t to : back[static_cast<size_t>(middle)]) {
        ++steps.scattered;
        if (to == from || seen[static_cast<size_t>(to)] == from) continue;
        seen[static_cast<size_t>(to)] = from;
        body(to);
      }
    }
  };
  for (int32_t r = 0; r < w.rows; ++r) {
    eachNeighbour(r, rows, cols,
                  [&](int32_t to) { steps.scattered += static_cast<double>(rows[static_cast<size_t>(to)].size()); });
  }
  std::fill(seen.begin(), seen.end(), -1);
  for (int32_t c = 0; c < w.cols; ++c) {
    double coefficients = 0, bound = 0;
    for (const int32_t r : cols[static_cast<size_t>(c)])
      bound += static_cast<double>(rows[static_cast<size_t>(r)].size()) - 1;
    eachNeighbour(c, cols, rows, [&](int32_t) { ++coefficients; });
    const double uses = static_cast<double>(cols[static_cast<size_t>(c)].size());
    if (2 * bound > w.cols) steps.dense += uses * w.cols;
    else steps.scattered += uses * coefficients;
  }
  return steps;
}

}  // namespace hebb::bench
