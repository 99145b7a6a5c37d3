// What tile_scorer.cuh's tiles are made of: bitmaps of the links, and the coefficients of pairs of neurons.
#include "tile_scorer.cuh"

#include "launch.cuh"
#include "prediction_cost.h"

namespace hebb::cuda {
namespace {

using namespace tile_scoring;

constexpr int kPairThreads = 256;
constexpr int kWords = 16;  // of each of 2 x 64 neurons in shared memory at once

__global__ void __launch_bounds__(kBlock) clearWords(uint32_t* words, int64_t count) {
  const int64_t at = element();
  if (at < count) words[at] = 0;
}

__global__ void __launch_bounds__(kBlock) markLinks(Topology links, Bits rowBits, Bits columnBits) {
  const int64_t at = element();
  if (at >= links.rowOffsets[links.rows]) return;
  const int32_t row = rowOf(links.rowOffsets, links.rows, static_cast<int32_t>(at)), column = links.columnIndices[at];
  atomicOr(&rowBits.words[static_cast<int64_t>(row) * rowBits.stride + column / 32], 1u << column % 32);
  atomicOr(&columnBits.words[static_cast<int64_t>(column) * columnBits.stride + row / 32], 1u << row % 32);
}

/// Coefficients of 64 neurons of a panel with 64 of their side, 4 x 4 a thread: common neighbours are bits in common.
__global__ void __launch_bounds__(kPairThreads)
    makeCoefficients(Bits bits, const int32_t* offsets, int32_t nodes, int32_t first, bool withInternal,
                     const Threshold* until, Pairs pairs) {
  HEBB_SHARED(uint32_t, own, [kTile][kWords + 1]);
  HEBB_SHARED(uint32_t, other, [kTile][kWords + 1]);
  if (until && until->settled) return;
  const int32_t across = pairs.stride / kTile, block = static_cast<int32_t>(blockIdx.x),
                ownTile = block / across * kTile, otherTile = block % across * kTile;
  const int x = static_cast<int>(threadIdx.x) % 16, y = static_cast<int>(threadIdx.x) / 16;
  int32_t common[4][4] = {};
  for (int32_t begin = 0; begin < bits.stride; begin += kWords) {
    for (int at = static_cast<int>(threadIdx.x); at < kTile * kWords; at += kPairThreads) {
      const int row = at / kWords, word = at % kWords;
      const bool there = begin + word < bits.stride;
      own[row][word] = there ? bits.words[static_cast<int64_t>(first + ownTile + row) * bits.stride + begin + word] : 0;
      other[row][word] = there ? bits.words[static_cast<int64_t>(otherTile + row) * bits.stride + begin + word] : 0;
    }
    __syncthreads();
    for (int word = 0; word < kWords; ++word) {
      uint32_t a[4], b[4];
#pragma unroll
      for (int r = 0; r < 4; ++r) {
        a[r] = own[y + 16 * r][word];
        b[r] = other[x + 16 * r][word];
      }
#pragma unroll
      for (int r = 0; r < 4; ++r) {
#pragma unroll
        for (int c = 0; c < 4; ++c) common[r][c] += __popc(a[r] & b[c]);
      }
    }
    __syncthreads();
  }
#pragma unroll
  for (int c = 0; c < 4; ++c) {
    const int32_t node = otherTile + x + 16 * c, degree = node < nodes ? offsets[node + 1] - offsets[node] : 0;
#pragma unroll
    for (int r = 0; r < 4; ++r) {
      const float value = common[r][c] > 0 ? scoring::coefficientOf(common[r][c], degree, withInternal) : 0.f;
      // Rounded to 11 bits; what is left is exact.
      const float high = __uint_as_float((__float_as_uint(value) + 0x1000u) & 0xFFFFE000u);
      const uint32_t halves = halvesOf(high, (value - high) * kLow);
      const int64_t at = static_cast<int64_t>(ownTile + y + 16 * r) * pairs.stride + node;
      pairs.high[at] = static_cast<uint16_t>(halves & 0xFFFFu);
      pairs.low[at] = static_cast<uint16_t>(halves >> 16);
    }
  }
}

int32_t smallerOf(const Topology& links) { return links.rows < links.cols ? links.rows : links.cols; }
int32_t largerOf(const Topology& links) { return links.rows < links.cols ? links.cols : links.rows; }

}  // namespace

Status TileScorer::check(int32_t rows, int32_t cols, LinkPredictor predictor) {
  if (isByPaths(predictor))
    return {Code::unsupported,
            "Expected the route to be 'auto' or 'sparse' for a predictor by paths on this device, got 'dense'"};
  const int64_t smaller = rows < cols ? rows : cols, larger = rows < cols ? cols : rows;
  if (bytesOfPairs(smaller, smaller) > kDenseRouteBytes || larger > kMostNeurons) {
    return {Code::unsupported, "Expected a layer whose pairs of neurons fit into " +
                                   std::to_string(kDenseRouteBytes >> 20) + " MiB, and of at most " +
                                   std::to_string(kMostNeurons) + " neurons a side, for the dense route, got " +
                                   std::to_string(rows) + " x " + std::to_string(cols) + ": take 'sparse' or 'auto'"};
  }
  return {};
}

Status TileScorer::choose(const Cuda& cuda, const Csr& links, LinkPredictor predictor, PredictionRoute route,
                          bool* dense) {
  const bool automatic = route == PredictionRoute::automatic;
  if (automatic) route = cuda.predictionRoute(links.rows, links.cols, links.capacity, predictor);
  *dense = route == PredictionRoute::dense && predictor != LinkPredictor::none;
  return *dense && !automatic ? check(links.rows, links.cols, predictor) : Status{};
}

PredictionRoute Cuda::predictionRoute(int32_t rows, int32_t cols, int64_t links, LinkPredictor predictor) const {
  if (predictor == LinkPredictor::none) return PredictionRoute::automatic;
  if (deterministic_ == Deterministic::everywhere) return PredictionRoute::sparse;
  if (!TileScorer::check(rows, cols, predictor).ok()) return PredictionRoute::sparse;
  const RouteSeconds expected = expectedSeconds(rows, cols, links);
  return expected.dense < expected.sparse ? PredictionRoute::dense : PredictionRoute::sparse;
}

TileScorer::TileScorer(Cuda& cuda, const char* operation, const Topology& links, LinkPredictor predictor)
    : cuda_(cuda), operation_(operation), links_(links), withInternal_(isCh2(predictor)),
      byRows_(links.rows >= links.cols), smaller_(smallerOf(links)), larger_(largerOf(links)), panel_(larger_),
      rowWords_(cuda), columnWords_(cuda), keptHalves_(cuda), madeHalves_(cuda) {
  const int64_t fitting = kPanelBytes / bytesOfPairs(kTile, larger_) * kTile;
  if (fitting < larger_) panel_ = static_cast<int32_t>(fitting);
}

Status TileScorer::prepare(int64_t capacity) {
  const int64_t rows = padded(links_.rows), cols = padded(links_.cols), smaller = padded(smaller_),
                larger = padded(larger_), panel = padded(panel_);
  HEBB_RETURN_IF_ERROR(rowWords_.allocate(rows * cols / 32));
  HEBB_RETURN_IF_ERROR(columnWords_.allocate(rows * cols / 32));
  HEBB_RETURN_IF_ERROR(keptHalves_.allocate(2 * smaller * smaller));
  HEBB_RETURN_IF_ERROR(madeHalves_.allocate(2 * panel * larger));
  rowBits_ = {rowWords_.data(), static_cast<int32_t>(cols / 32)};
  columnBits_ = {columnWords_.data(), static_cast<int32_t>(rows / 32)};
  kept_ = {keptHalves_.data(), keptHalves_.data() + smaller * smaller, static_cast<int32_t>(smaller)};
  made_ = {madeHalves_.data(), madeHalves_.data() + panel * larger, static_cast<int32_t>(larger)};
  HEBB_RETURN_IF_ERROR(launch(cuda_, operation_, clearWords, blocksFor(rows * cols / 32), dim3(kBlock), 0,
                              rowWords_.data(), rows * cols / 32));
  HEBB_RETURN_IF_ERROR(launch(cuda_, operation_, clearWords, blocksFor(rows * cols / 32), dim3(kBlock), 0,
                              columnWords_.data(), rows * cols / 32));
  HEBB_RETURN_IF_ERROR(
      launch(cuda_, operation_, markLinks, blocksFor(capacity), dim3(kBlock), 0, links_, rowBits_, columnBits_));
  HEBB_RETURN_IF_ERROR(makePairs(!byRows_, 0, smaller_, nullptr, kept_));
  return panel_ < larger_ ? Status{} : makePairs(byRows_, 0, larger_, nullptr, made_);
}

Status TileScorer::makePairs(bool ofRows, int32_t first, int32_t neurons, const Threshold* until, const Pairs& pairs) {
  const Bits& bits = ofRows ? rowBits_ : columnBits_;
  const int64_t blocks = padded(neurons) / kTile * (pairs.stride / kTile);
  return launch(cuda_, operation_, makeCoefficients, blocks, dim3(kPairThreads), 0, bits,
                ofRows ? links_.rowOffsets : links_.columnOffsets, ofRows ? links_.rows : links_.cols, first,
                withInternal_, until, pairs);
}

}  // namespace hebb::cuda
