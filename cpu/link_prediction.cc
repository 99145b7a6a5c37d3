// All missing links with a score, listed in host memory, for inspection and tests. An update chooses while it scores
// and keeps candidates alone (regrow.cc).
#include "hebb/link_prediction.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "tile_scorer.h"

namespace hebb::cpu::HEBB_LEVEL {
namespace {

/// What one chunk found: rows in any order, the columns of a row ascending.
struct Part {
  std::vector<int32_t> rows, columns;
  std::vector<float> scores;
  void push(int32_t row, int32_t column, float score) {
    if (score == 0) return;
    rows.push_back(row);
    columns.push_back(column);
    scores.push_back(score);
  }
};

}  // namespace

Status predictLinks(Backend& backend, const PredictLinks& op) {
  Cpu& cpu = cpuOf(backend);
  const Csr& w = op.links;
  *op.result = {};
  if (op.predictor == LinkPredictor::none) return {};
  const Topology links{w.rows, w.cols, w.rowOffsets, w.columnIndices, w.columnOffsets, w.rowIndices};
  std::vector<Part> parts;
  bool dense = false;
  HEBB_RETURN_IF_ERROR(chooseRoute(links, op.predictor, op.route, &dense));
  if (dense) {
    TileScorer scorer(cpu, links, op.predictor);
    HEBB_RETURN_IF_ERROR(scorer.prepare());
    parts.resize(static_cast<size_t>(scorer.strips()));
    cpu.team.parallel(scorer.strips(), [&](int64_t strip, int rank) {
      scorer.strip(strip, rank, [&](int32_t row, int32_t first, const float* scores, int32_t n) {
        for (int32_t j = 0; j < n; ++j) parts[static_cast<size_t>(strip)].push(row, first + j, scores[j]);
      });
    });
  } else {
    RowScorer scorer(cpu, links, op.predictor);
    HEBB_RETURN_IF_ERROR(scorer.prepare());
    parts.resize(static_cast<size_t>(chunksFor(cpu, w.rows, 16)));
    const int64_t chunks = static_cast<int64_t>(parts.size());
    cpu.team.parallel(chunks, [&](int64_t chunk, int rank) {
      std::vector<std::pair<int32_t, float>> found;
      std::vector<float> line;  // scores by column, zero between uses
      for (int64_t i = w.rows * chunk / chunks; i < w.rows * (chunk + 1) / chunks && !backend.stop; ++i) {
        scorer.row(static_cast<int32_t>(i), rank, [&](const int32_t* columns, const float* scores, int64_t n) {
          if (n == 0) return;
          Part& part = parts[static_cast<size_t>(chunk)];
          const auto [least, most] = std::minmax_element(columns, columns + n);
          const int32_t first = *least, last = *most;
          if (last - first < 32 * n) {
            line.resize(static_cast<size_t>(w.cols));
            for (int64_t j = 0; j < n; ++j) line[static_cast<size_t>(columns[j])] = scores[j];
            for (int32_t column = first; column <= last; ++column)
              part.push(static_cast<int32_t>(i), column, std::exchange(line[static_cast<size_t>(column)], 0.f));
            return;
          }
          found.clear();
          for (int64_t j = 0; j < n; ++j) found.emplace_back(columns[j], scores[j]);
          std::sort(found.begin(), found.end());
          for (const auto& [column, score] : found) part.push(static_cast<int32_t>(i), column, score);
        });
      }
    });
  }
  if (backend.stop) return {Code::aborted, "stopped while predicting links"};
  // The parts in order hold each row's columns in order: one walk puts them by row.
  std::vector<size_t> at(static_cast<size_t>(w.rows) + 1, 0);
  for (const Part& part : parts) {
    for (int32_t row : part.rows) ++at[static_cast<size_t>(row) + 1];
  }
  for (size_t r = 1; r < at.size(); ++r) at[r] += at[r - 1];
  LinkScores& result = *op.result;
  result.row.resize(at.back());
  result.col.resize(at.back());
  result.score.resize(at.back());
  for (Part& part : parts) {
    for (size_t n = 0; n < part.rows.size(); ++n) {
      const size_t to = at[static_cast<size_t>(part.rows[n])]++;
      result.row[to] = part.rows[n];
      result.col[to] = part.columns[n];
      result.score[to] = part.scores[n];
    }
    part = {};
  }
  return {};
}

}  // namespace hebb::cpu::HEBB_LEVEL
