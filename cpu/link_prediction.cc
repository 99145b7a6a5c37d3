#include "hebb/link_prediction.h"

#include "row_scorer.h"

namespace hebb::cpu::HEBB_LEVEL {

Status predictLinks(Backend& backend, const PredictLinks& op) {
  Cpu& cpu = cpuOf(backend);
  const Csr& w = op.links;
  *op.result = {};
  if (op.predictor == LinkPredictor::none) return {};
  RowScorer scorer(cpu, {w.rows, w.cols, w.rowOffsets, w.columnIndices, w.columnOffsets, w.rowIndices}, op.predictor);
  HEBB_RETURN_IF_ERROR(scorer.prepare());
  std::vector<LinkScores> parts(static_cast<size_t>(chunksFor(cpu, w.rows, 16)));
  const int64_t chunks = static_cast<int64_t>(parts.size());
  cpu.team.parallel(chunks, [&](int64_t chunk, int rank) {
    LinkScores& part = parts[static_cast<size_t>(chunk)];
    for (int64_t i = w.rows * chunk / chunks; i < w.rows * (chunk + 1) / chunks && !backend.stop; ++i) {
      scorer.row(static_cast<int32_t>(i), rank, [&](int32_t first, int32_t last, const float* scores) {
        for (int32_t j = first; j < last; ++j) {
          if (scores[j] == 0) continue;
          part.row.push_back(static_cast<int32_t>(i));
          part.col.push_back(j);
          part.score.push_back(scores[j]);
        }
      });
    }
  });
  if (backend.stop) return {Code::aborted, "stopped while predicting links"};
  for (const LinkScores& part : parts) {
    op.result->row.insert(op.result->row.end(), part.row.begin(), part.row.end());
    op.result->col.insert(op.result->col.end(), part.col.begin(), part.col.end());
    op.result->score.insert(op.result->score.end(), part.score.begin(), part.score.end());
  }
  return {};
}

}  // namespace hebb::cpu::HEBB_LEVEL
