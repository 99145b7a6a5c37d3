// All missing links with a score, for inspection: rows are scored once to count them and once more to write them (row_scorer.cuh, path_scorer.cuh: what it costs);
// the host, where the answer goes, puts them in order. This one waits, as its answer's size is only known on the device.
#include "hebb/link_prediction.h"

#include <algorithm>

#include "launch.cuh"
#include "path_scorer.cuh"

namespace hebb::cuda {
namespace {

using Count = unsigned long long;
constexpr int64_t kBlocks = 2048;

/// A cell, row * cols + column, and its score.
struct Found {
  uint64_t cell;
  float score;
};

/// Counts what is found, and writes it where there is room.
template <bool kByPaths>
__global__ void __launch_bounds__(scoring::kThreads, scoring::kResident) predict(Topology links, bool withInternal, Found* found, Count room, Count* count) {
  HEBB_SHARED_DYNAMIC(unsigned char, shared);
  for (int64_t i = static_cast<int64_t>(blockIdx.x); i < links.rows; i += static_cast<int64_t>(gridDim.x)) {
    scoreMissing<kByPaths>(links, static_cast<int32_t>(i), withInternal, shared, [&](int32_t column, float score) {
      const Count at = atomicAdd(count, Count{1});
      if (at < room) found[at] = {static_cast<uint64_t>(i) * static_cast<uint64_t>(links.cols) + static_cast<uint64_t>(column), score};
    });
  }
}

}  // namespace

Status predictLinks(Backend& backend, const PredictLinks& op) {
  Cuda& cuda = cudaOf(backend);
  const char* const name = "predictLinks";
  const Csr& w = op.links;
  *op.result = {};
  if (op.predictor == LinkPredictor::none) return {};
  HEBB_RETURN_IF_ERROR(checkRoute(op.route));
  const Topology links{w.rows, w.cols, w.rowOffsets, w.columnIndices, w.columnOffsets, w.rowIndices};
  const bool withInternal = isCh2(op.predictor);
  const auto kernel = isByPaths(op.predictor) ? predict<true> : predict<false>;
  const size_t shared = scoringBytes(op.predictor);
  const int64_t blocks = w.rows < kBlocks ? w.rows : kBlocks;
  Scratch<Count> counts(cuda);
  Scratch<Found> found(cuda);
  HEBB_RETURN_IF_ERROR(counts.allocate(2));
  Found* const nowhere = nullptr;
  HEBB_RETURN_IF_ERROR(launch(cuda, name, kernel, blocks, dim3(scoring::kThreads), shared, links, withInternal, nowhere, Count{0}, counts.data()));
  Count count = 0;
  HEBB_RETURN_IF_ERROR(cuda.read(&count, counts.data(), sizeof count));
  if (count == 0) return {};
  HEBB_RETURN_IF_ERROR(found.allocate(static_cast<int64_t>(count)));
  HEBB_RETURN_IF_ERROR(launch(cuda, name, kernel, blocks, dim3(scoring::kThreads), shared, links, withInternal, found.data(), count, counts.data() + 1));
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
