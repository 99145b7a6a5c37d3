// Scores of missing links from the topology alone (Cannistraci-Hebb network automata on paths of length three).
#pragma once

#include <cstdint>
#include <vector>

#include "hebb/csr.h"

namespace hebb {

enum class LinkPredictor : int32_t {
  none = 0,    // no scores: every missing link is alike
  ch2L3n = 1,  // CH2-L3n: numerator 1 + internal degree
  ch3L3n = 2,  // CH3-L3n: numerator 1
};

/// The missing links with a nonzero score, by row, then column.
struct LinkScores {
  std::vector<int32_t> row, col;
  std::vector<float> score;
};

/// Scores all missing links into host memory. For inspection and tests: the answer can be as large as rows x cols. Training
/// uses Regrow, which never holds more than the links to grow.
struct PredictLinks {
  Csr links;
  LinkPredictor predictor = LinkPredictor::ch2L3n;
  LinkScores* result = nullptr;
};

}  // namespace hebb
