// All missing links with a score, for inspection: they are scored once to count them and once more to write them
// (row_scorer.cuh, path_scorer.cuh, tile_scorer.cuh: what it costs); the host, where the answer goes, puts them in
// order. This one waits, as its answer's size is only known on the device.
#include "hebb/link_prediction.h"

#include <algorithm>

#include "launch.cuh"
#include "path_scorer.cuh"
#include "tile_scorer.cuh"

namespace hebb::cuda {
namespace {

constexpr const char* kName = "predictLinks";
using Total = unsigned long long;
constexpr int64_t kBlocks = 2048;

/// A cell, row * cols + column, and its score.
struct Found {
  uint64_t cell;
  float score;
};

/// Counts what is found, and writes it where there is room.
struct List {
  Found* found;  // [room]
  Total room;
  Total* count;
};

template <class Scores>
__global__ void __launch_bounds__(scoring::kThreads, Scores::kResident) predict(Scores scores, List list) {
  HEBB_SHARED_DYNAMIC(unsigned char, shared);
  scores.each(shared, [&](int32_t row, int32_t column, float score) {
    const Total at = atomicAdd(list.count, Total{1});
    if (at < list.room)
      list.found[at] = {
          static_cast<uint64_t>(row) * static_cast<uint64_t>(scores.links.cols) + static_cast<uint64_t>(column), score};
  });
}

template <class Scores>
Status predictAll(Cuda& cuda, const Scores& scores, int64_t blocks, const List& list) {
  return launch(cuda, kName, predict<Scores>, blocks < kBlocks ? blocks : kBlocks, dim3(scoring::kThreads),
                Scores::kSharedBytes, scores, list);
}

}  // namespace

Status predictLinks(Backend& backend, const PredictLinks& op) {
  Cuda& cuda = cudaOf(backend);
  const Csr& w = op.links;
  *op.result = {};
  if (op.predictor == LinkPredictor::none) return {};
  bool byTiles = false;
  HEBB_RETURN_IF_ERROR(TileScorer::choose(cuda, w, op.predictor, op.route, &byTiles));
  const Topology links{w.rows, w.cols, w.rowOffsets, w.columnIndices, w.columnOffsets, w.rowIndices};
  TileScorer tiles(cuda, kName, links, op.predictor);
  if (byTiles) HEBB_RETURN_IF_ERROR(tiles.prepare(w.capacity));
  const auto run = [&](const List& list) {
    if (byTiles)
      return tiles.eachPanel(
          nullptr, [&](const TileScores& scores, int64_t blocks) { return predictAll(cuda, scores, blocks, list); });
    if (isByPaths(op.predictor)) return predictAll(cuda, RowScores<true>{links, isCh2(op.predictor)}, w.rows, list);
    return predictAll(cuda, RowScores<false>{links, isCh2(op.predictor)}, w.rows, list);
  };
  Scratch<Total> counts(cuda);
  Scratch<Found> found(cuda);
  HEBB_RETURN_IF_ERROR(counts.allocate(2));
  HEBB_RETURN_IF_ERROR(run({nullptr, 0, counts.data()}));
  Total count = 0;
  HEBB_RETURN_IF_ERROR(cuda.read(&count, counts.data(), sizeof count));
  if (count == 0) return {};
  HEBB_RETURN_IF_ERROR(found.allocate(static_cast<int64_t>(count)));
  HEBB_RETURN_IF_ERROR(run({found.data(), count, counts.data() + 1}));
  std::vector<Found> all(static_cast<size_t>(count));
  HEBB_RETURN_IF_ERROR(cuda.read(all.data(), found.data(), sizeof(Found) * all.size()));
  std::sort(all.begin(), all.end(), [](const Found& a, const Found& b) { return a.cell < b.cell; });
  LinkScores& result = *op.result;
  result.row.reserve(all.size());
  result.col.reserve(all.size());
  result.score.reserve(all.size());
  for (const Found& one : all) {
    result.row.push_back(static_cast<int32_t>(one.cell / static_cast<uint64_t>(w.cols)));
    result.col.push_back(static_cast<int32_t>(one.cell % static_cast<uint64_t>(w.cols)));
    result.score.push_back(one.score);
  }
  return {};
}

}  // namespace hebb::cuda
