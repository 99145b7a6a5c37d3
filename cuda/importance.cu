// How much links matter. A warp adds up a row's or a column's kept weights: its lanes fetch 32 at a time and all of
// them add these one after the other, in the order of the CPU, so the sums are its bits. A warp per neuron, so the row
// of a hub is the work of one warp.
//
// Roofline, L links, relative: 26 L bytes from memory (the rows' weights through cscSlots: up to a line each), and L
// dependent additions of 4 cycles on the longest row. Magnitude: 9 L bytes, and 4 L more with the gradient.
#include "hebb/importance.h"

#include "launch.cuh"
#include "search.cuh"

namespace hebb::cuda {
namespace {

constexpr int kWarps = kBlock / kWarp;

/// sums[n] = the magnitudes of the kept weights of column n, or of row n (through `slots`).
__global__ void __launch_bounds__(kBlock)
    addMagnitudes(const int32_t* offsets, const int32_t* slots, int32_t nodes, const float* values, const uint8_t* keep,
                  float* sums, const Failure* failure) {
  if (failed(failure)) return;
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  const int64_t node = static_cast<int64_t>(blockIdx.x) * kWarps + static_cast<int64_t>(threadIdx.x) / kWarp;
  if (node >= nodes) return;
  const int32_t end = offsets[node + 1];
  float sum = 0.f;
  for (int32_t first = offsets[node]; first < end; first += kWarp) {
    float size = 0.f;  // adding 0 changes no bit of a sum of magnitudes
    if (first + lane < end) {
      const int32_t k = slots ? slots[first + lane] : first + lane;
      if (keep[k]) size = fabsf(values[k]);
    }
    const int32_t left = end - first;
    for (int from = 0; from < kWarp && from < left; ++from) sum += __shfl_sync(kWholeWarp, size, from);
  }
  if (lane == 0) sums[node] = sum;
}

/// The sums are null where only magnitudes count, and the gradient where it does not count.
__global__ void __launch_bounds__(kBlock)
    scoreLinks(Csr links, const float* values, const uint8_t* keep, const float* rowSums, const float* columnSums,
               const float* gradient, float share, float* scores, const Failure* failure) {
  const int64_t at = element();
  if (failed(failure) || at >= links.rowOffsets[links.rows] || !keep[at]) return;
  const int32_t k = static_cast<int32_t>(at);
  float score = fabsf(values[k]);
  // A sum is zero only when the weight is: its share of nothing is nothing.
  if (rowSums && score != 0.f)
    score = score / columnSums[rowOf(links.columnOffsets, links.cols, k)] + score / rowSums[links.rowIndices[k]];
  if (gradient) score += share * fabsf(gradient[k]);
  scores[k] = score;
}

}  // namespace

Status importance(Backend& backend, const Importance& op) {
  Cuda& cuda = cudaOf(backend);
  const char* const name = "importance";
  const Csr& w = op.links;
  const bool relative = op.rule == ImportanceRule::relative;
  Scratch<float> rowSums(cuda), columnSums(cuda);
  if (relative) {
    HEBB_RETURN_IF_ERROR(rowSums.allocate(w.rows));
    HEBB_RETURN_IF_ERROR(columnSums.allocate(w.cols));
    const int32_t* const noSlots = nullptr;
    HEBB_RETURN_IF_ERROR(launch(cuda, name, addMagnitudes, (w.rows - 1) / kWarps + 1, dim3(kBlock), 0, w.rowOffsets,
                                w.cscSlots, w.rows, op.values, op.keep, rowSums.data(), cuda.failure()));
    HEBB_RETURN_IF_ERROR(launch(cuda, name, addMagnitudes, (w.cols - 1) / kWarps + 1, dim3(kBlock), 0, w.columnOffsets,
                                noSlots, w.cols, op.values, op.keep, columnSums.data(), cuda.failure()));
  }
  return launch(cuda, name, scoreLinks, blocksFor(w.capacity), dim3(kBlock), 0, w, op.values, op.keep, rowSums.data(),
                columnSums.data(), op.rule == ImportanceRule::gradient ? op.gradient : nullptr, op.share, op.scores,
                cuda.failure());
}

}  // namespace hebb::cuda
