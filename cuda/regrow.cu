// Chooses new links by scores of the topology (row_scorer.cuh, path_scorer.cuh, tile_scorer.cuh), or without any. What
// candidates do, once they have a rank, and what is drawn, is growth.cuh's.
//
// Roofline, S the cost of scoring: 3 S for a predictor, and what growth.cuh takes.
#include "hebb/regrow.h"

#include "growth.cuh"
#include "launch.cuh"
#include "path_scorer.cuh"
#include "tile_scorer.cuh"

namespace hebb::cuda {
namespace {

constexpr const char* kName = "regrow";
constexpr int64_t kRaceBlocks = 2048;

/// Calls body(row, column, rank) for the missing links with a score.
template <class Scores, class Body>
__device__ __forceinline__ void eachRank(const Scores& scores, const Candidates& candidates, bool soft,
                                         unsigned char* shared, const Body& body) {
  const Draw draw = candidates.drawNow();
  scores.each(shared, [&](int32_t row, int32_t column, float score) {
    body(row, column, rankAt(score, static_cast<uint32_t>(row), static_cast<uint32_t>(column), draw, soft, 1.f));
  });
}

template <class Scores>
__global__ void __launch_bounds__(scoring::kThreads, Scores::kResident)
    countCandidates(Scores scores, Candidates candidates, bool soft, int pass, Count* all) {
  HEBB_SHARED_DYNAMIC(unsigned char, shared);
  HEBB_SHARED(int32_t, bins, [kDigits]);
  const Threshold* const floor = candidates.floor;
  if (floor->settled) return;
  const Threshold known = *floor;
  clearBins(bins);
  __syncthreads();
  eachRank(scores, candidates, soft, shared,
           [&](int32_t, int32_t, uint64_t rank) { countRank(known, pass, rank, bins); });
  __syncthreads();
  addBins(bins, all);
}

/// Lists the candidates at the floor or above it, in any order.
template <class Scores>
__global__ void __launch_bounds__(scoring::kThreads, Scores::kResident)
    listCandidates(Scores scores, Candidates candidates, bool soft) {
  HEBB_SHARED_DYNAMIC(unsigned char, shared);
  const uint64_t floor = candidates.floor->rank;
  if (candidates.floor->wanted == 0) return;
  eachRank(scores, candidates, soft, shared, [&](int32_t row, int32_t column, uint64_t rank) {
    if (rank >= floor) candidates.list(rank, row, column, scores.links.cols);
  });
}

template <class Scores>
Status countAll(Cuda& cuda, const Scores& scores, int64_t blocks, const Candidates& candidates, bool soft, int pass,
                Count* bins) {
  return launch(cuda, kName, countCandidates<Scores>, blocks < kRaceBlocks ? blocks : kRaceBlocks,
                dim3(scoring::kThreads), Scores::kSharedBytes, scores, candidates, soft, pass, bins);
}

template <class Scores>
Status listAll(Cuda& cuda, const Scores& scores, int64_t blocks, const Candidates& candidates, bool soft) {
  return launch(cuda, kName, listCandidates<Scores>, blocks < kRaceBlocks ? blocks : kRaceBlocks,
                dim3(scoring::kThreads), Scores::kSharedBytes, scores, candidates, soft);
}

/// The race by the sparse route.
template <bool kByPaths>
Status raceByRows(Cuda& cuda, Growth& growth, const Regrow& op) {
  const RowScores<kByPaths> scores{growth.kept(), isCh2(op.predictor)};
  const bool soft = op.selection == Selection::sample;
  return growth.race(
      [&](const Candidates& candidates, int pass, Count* bins) {
        return countAll(cuda, scores, op.links.rows, candidates, soft, pass, bins);
      },
      [&](const Candidates& candidates) { return listAll(cuda, scores, op.links.rows, candidates, soft); });
}

/// The race by the dense route.
Status raceByTiles(Cuda& cuda, Growth& growth, const Regrow& op) {
  TileScorer scorer(cuda, kName, growth.kept(), op.predictor);
  HEBB_RETURN_IF_ERROR(scorer.prepare(op.links.capacity));
  const bool soft = op.selection == Selection::sample;
  return growth.race(
      [&](const Candidates& candidates, int pass, Count* bins) {
        return scorer.eachPanel(candidates.floor, [&](const TileScores& scores, int64_t blocks) {
          return countAll(cuda, scores, blocks, candidates, soft, pass, bins);
        });
      },
      [&](const Candidates& candidates) {
        return scorer.eachPanel(nullptr, [&](const TileScores& scores, int64_t blocks) {
          return listAll(cuda, scores, blocks, candidates, soft);
        });
      });
}

}  // namespace

Status regrow(Backend& backend, const Regrow& op) {
  Cuda& cuda = cudaOf(backend);
  const bool predicts = op.predictor != LinkPredictor::none;
  bool byTiles = false;
  HEBB_RETURN_IF_ERROR(TileScorer::choose(cuda, op.links, op.predictor, op.route, &byTiles));
  Growth growth(cuda, {kName, op.links, op.changes, op.count, op.update, op.seed, op.layer, Problem::regrownLinks});
  HEBB_RETURN_IF_ERROR(growth.begin());
  if (byTiles) HEBB_RETURN_IF_ERROR(raceByTiles(cuda, growth, op));
  else if (predicts)
    HEBB_RETURN_IF_ERROR(isByPaths(op.predictor) ? raceByRows<true>(cuda, growth, op)
                                                 : raceByRows<false>(cuda, growth, op));
  return growth.finish();
}

}  // namespace hebb::cuda
