// Chooses new links by scores of the topology (row_scorer.cuh, path_scorer.cuh), or without any. What candidates do, once they have a rank, and what is drawn, is growth.cuh's.
//
// Roofline, S the cost of scoring (row_scorer.cuh, path_scorer.cuh): 3 S for a predictor, and what growth.cuh takes.
#include "hebb/regrow.h"

#include "growth.cuh"
#include "launch.cuh"
#include "path_scorer.cuh"

namespace hebb::cuda {
namespace {

constexpr const char* kName = "regrow";
constexpr int64_t kRaceBlocks = 2048;

struct Race {
  Topology links;
  Candidates candidates;
  bool withInternal, soft;
};

/// Calls body(row, column, rank) for the block's rows and their missing links with a score.
template <bool kByPaths, class Body>
__device__ __forceinline__ void eachRank(const Race& race, unsigned char* shared, const Body& body) {
  const Draw draw = race.candidates.drawNow();
  for (int64_t row = static_cast<int64_t>(blockIdx.x); row < race.links.rows; row += static_cast<int64_t>(gridDim.x)) {
    const int32_t i = static_cast<int32_t>(row);
    scoreMissing<kByPaths>(race.links, i, race.withInternal, shared, [&](int32_t column, float score) {
      body(i, column, rankAt(score, static_cast<uint32_t>(i), static_cast<uint32_t>(column), draw, race.soft, 1.f));
    });
  }
}

template <bool kByPaths>
__global__ void __launch_bounds__(scoring::kThreads, scoring::kResident) countCandidates(Race race, int pass, Count* all) {
  HEBB_SHARED_DYNAMIC(unsigned char, shared);
  HEBB_SHARED(int32_t, bins, [kDigits]);
  const Threshold* const floor = race.candidates.floor;
  if (floor->settled) return;
  const Threshold known = *floor;
  clearBins(bins);
  __syncthreads();
  eachRank<kByPaths>(race, shared, [&](int32_t, int32_t, uint64_t rank) { countRank(known, pass, rank, bins); });
  __syncthreads();
  addBins(bins, all);
}

/// Lists the candidates at the floor or above it, in any order.
template <bool kByPaths>
__global__ void __launch_bounds__(scoring::kThreads, scoring::kResident) listCandidates(Race race) {
  HEBB_SHARED_DYNAMIC(unsigned char, shared);
  const uint64_t floor = race.candidates.floor->rank;
  if (race.candidates.floor->wanted == 0) return;
  eachRank<kByPaths>(race, shared, [&](int32_t row, int32_t column, uint64_t rank) {
    if (rank >= floor) race.candidates.list(rank, row, column, race.links.cols);
  });
}

}  // namespace

Status regrow(Backend& backend, const Regrow& op) {
  Cuda& cuda = cudaOf(backend);
  if (op.predictor != LinkPredictor::none) HEBB_RETURN_IF_ERROR(checkRoute(op.route));
  Growth growth(cuda, {kName, op.links, op.changes, op.count, op.update, op.seed, op.layer, Problem::regrownLinks});
  HEBB_RETURN_IF_ERROR(growth.begin());
  if (op.predictor != LinkPredictor::none) {
    const bool byPaths = isByPaths(op.predictor);
    const size_t shared = scoringBytes(op.predictor);
    const int64_t blocks = op.links.rows < kRaceBlocks ? op.links.rows : kRaceBlocks;
    const auto raceOf = [&](const Candidates& candidates) {
      return Race{growth.kept(), candidates, isCh2(op.predictor), op.selection == Selection::sample};
    };
    HEBB_RETURN_IF_ERROR(growth.race(
        [&](const Candidates& candidates, int pass, Count* bins) {
          return launch(cuda, kName, byPaths ? countCandidates<true> : countCandidates<false>, blocks, dim3(scoring::kThreads), shared, raceOf(candidates), pass, bins);
        },
        [&](const Candidates& candidates) {
          return launch(cuda, kName, byPaths ? listCandidates<true> : listCandidates<false>, blocks, dim3(scoring::kThreads), shared, raceOf(candidates));
        }));
  }
  return growth.finish();
}

}  // namespace hebb::cuda
