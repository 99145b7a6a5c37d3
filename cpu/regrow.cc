// Chooses new links. Scores come row by row or tile by tile, and only candidates that can still win are held: each
// thread keeps the best ones it has seen, at most twice as many as are wanted. No array of rows x cols exists, and as
// ranks are tied to places, neither the number of threads nor their speed changes the choice.
#include "hebb/regrow.h"

#include "growth.h"
#include "tile_scorer.h"

namespace hebb::cpu::HEBB_LEVEL {
namespace {

/// The candidates that win, of those with a positive score.
Status race(Cpu& cpu, const Topology& links, const Regrow& op, int64_t wanted, const Draw& draw, Chosen& chosen) {
  TopK topK(cpu);
  HEBB_RETURN_IF_ERROR(topK.prepare(draw, op.selection == Selection::sample, wanted));
  bool dense = false;
  HEBB_RETURN_IF_ERROR(chooseRoute(links, op.predictor, op.route, &dense));
  if (dense) {
    TileScorer scorer(cpu, links, op.predictor);
    HEBB_RETURN_IF_ERROR(scorer.prepare());
    topK.eachChunk(scorer.strips(), [&](int64_t strip, int rank, Best& mine) {
      scorer.strip(strip, rank, [&](int32_t row, int32_t first, const float* scores, int32_t n) {
        UintVec lanes;
        for (int lane = 0; lane < W; ++lane) lanes[lane] = static_cast<uint32_t>(lane);
        mine.offer(row, n, scores, [&](int64_t j) { return lanes + static_cast<uint32_t>(first + j); });
      });
    });
  } else {
    RowScorer scorer(cpu, links, op.predictor);
    HEBB_RETURN_IF_ERROR(scorer.prepare());
    // Many chunks: rows of hubs cost far more than others.
    const int64_t chunks = std::min<int64_t>(links.rows, chunksFor(cpu, links.rows, 4) * 32);
    topK.eachChunk(chunks, [&](int64_t chunk, int rank, Best& mine) {
      for (int64_t i = links.rows * chunk / chunks; i < links.rows * (chunk + 1) / chunks && !cpu.stop; ++i) {
        scorer.row(static_cast<int32_t>(i), rank, [&](const int32_t* columns, const float* scores, int64_t n) {
          mine.offer(static_cast<int32_t>(i), n, scores, [&](int64_t j) { return loadUints(columns + j); });
        });
      }
    });
  }
  if (cpu.stop) return {Code::aborted, "stopped while predicting links"};
  return topK.finish(links.rows, chosen);
}

}  // namespace

Status regrow(Backend& backend, const Regrow& op) {
  return grow(backend, op, op.predictor != LinkPredictor::none,
              [&](const Topology& kept, int64_t wanted, const Draw& draw, Chosen& chosen) {
                return race(cpuOf(backend), kept, op, wanted, draw, chosen);
              });
}

}  // namespace hebb::cpu::HEBB_LEVEL
