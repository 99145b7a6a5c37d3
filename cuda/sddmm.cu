// The weights' gradient on the links alone: for each link (i, j) the dot of row i of dY with row j of X over the batch. The optimizer's step can follow at
// once, on the gradient in the register. The product that may go along, dX = W^T dY, is a launch of its own before it (spmm.cu).
//
// A warp has one row of X, and the links of that input, whose values lie side by side. 8 lanes share a link (4 where a panel has 16 columns), each with
// every eighth four columns, and take 4 links at a time, so that what they fetched of X serves four rows of dY, and a gradient is complete, over all
// panels, before it is written once.
//   lanes    0..7        8..15       16..23       24..31
//   links    0 1 2 3     4 5 6 7     8 9 10 11    12 13 14 15     of the input, then the next sixteen
//   columns  4 l .. 4 l + 3 and 32 + 4 l .. 32 + 4 l + 3 of each panel, l the lane
// The lanes of a link add what they have in a fixed tree. A warp also adds up a row of dY, for the bias.
//
// The order of summation depends on the panel's width and not on the links, the rows or the number of valid columns. It is not the CPU's: the results differ
// by at most (columns / 8 + 4) * 2^-24 * sum |dy x|.
//
// Roofline, B live columns, L links: 2 L B flop; 4 L B bytes of dY from L1 or L2, and a quarter of that of X from L1; at least 4 B (M + N) + 8 L bytes
// from memory (16 L, with the optimizer and momentum 24 L). 0.5 flop a byte on chip: the caches' bandwidth is the limit. Its weakness: the links of a hub are
// the work of one warp.
#include "hebb/sddmm.h"

#include "sgd.cuh"

namespace hebb::cuda {
namespace {

constexpr int kThreads = 128;
constexpr int kResident = 6;  // blocks that a multiprocessor holds at once, so that ptxas has registers for all loads of a pass
constexpr int kLinks = 4;     // links that the lanes of a group take at a time

struct Sampled {
  Sddmm op;
  int32_t panels;
  const Failure* failure;
};

/// Four columns of a row, or zeros where there are none.
__device__ __forceinline__ float4 loadColumns(const float* row, int32_t column, int32_t live) {
  return column < live ? loadReused4(row + column) : make_float4(0.f, 0.f, 0.f, 0.f);
}

__device__ __forceinline__ float dot4(float4 a, float4 b, float sum) { return fmaf(a.w, b.w, fmaf(a.z, b.z, fmaf(a.y, b.y, fmaf(a.x, b.x, sum)))); }

/// The four sums of each group of lanes, added over the group: lane l of it returns that of link l % 4. Called by the whole warp.
template <int Lanes>
__device__ __forceinline__ float sumOfGroup(float s0, float s1, float s2, float s3, int within) {
  // Halves exchange what the other half goes on with: lanes with bit 0 keep links 1 and 3, then lanes with bit 1 link 2 or 3.
  const bool odd = within & 1, high = within & 2;
  const float give0 = odd ? s0 : s1, give1 = odd ? s2 : s3;
  const float low = (odd ? s1 : s0) + __shfl_xor_sync(kWholeWarp, give0, 1), up = (odd ? s3 : s2) + __shfl_xor_sync(kWholeWarp, give1, 1);
  float sum = (high ? up : low) + __shfl_xor_sync(kWholeWarp, high ? low : up, 2);
  if constexpr (Lanes == 8) sum += __shfl_xor_sync(kWholeWarp, sum, 4);
  return sum;
}

template <int Lanes>
__global__ void __launch_bounds__(kThreads, kResident) gradientColumns(Sampled sampled) {
  constexpr int kGroups = kWarp / Lanes, kPass = kGroups * kLinks;  // links of a warp at a time
  const Sddmm& op = sampled.op;
  const Activations &dy = op.outputGradient, &x = op.input;
  const int thread = static_cast<int>(threadIdx.x), lane = thread % kWarp, within = lane % Lanes, group = lane / Lanes;
  const int32_t node = static_cast<int32_t>(blockIdx.x) * (kThreads / kWarp) + thread / kWarp;  // an input, and an output
  if (failed(sampled.failure)) return;
  const int64_t dyPanel = int64_t{dy.features} * dy.panel, xPanel = int64_t{x.features} * x.panel;
  int32_t begin = 0, end = 0;
  if (node < op.pattern.cols) {
    begin = loadReused(op.pattern.columnOffsets + node);
    end = loadReused(op.pattern.columnOffsets + node + 1);
  }
  const float* const inputs = x.data + int64_t{node} * x.panel;
  const SgdStep step(op.fusedValues);

  for (int32_t first = begin; first < end; first += kPass) {
    // A link that is not there is the last one again.
    int32_t link = first + group * kLinks;
    const float* rows[kLinks];
#pragma unroll
    for (int j = 0; j < kLinks; ++j) {
      const int32_t k = link + j < end ? link + j : end - 1;
      rows[j] = dy.data + int64_t{loadReused(op.pattern.rowIndices + k)} * dy.panel;
    }
    float sums[kLinks] = {};
    for (int32_t p = 0; p < sampled.panels; ++p) {
      const int32_t live = liveColumns(x.columns, x.capacity, x.panel, p);
      if (live <= 0) break;
      for (int32_t column = within * 4; column < x.panel; column += Lanes * 4) {
        const float4 v = loadColumns(inputs + p * xPanel, column, live);
#pragma unroll
        for (int j = 0; j < kLinks; ++j) sums[j] = dot4(v, loadColumns(rows[j] + p * dyPanel, column, live), sums[j]);
      }
    }
    float g = sumOfGroup<Lanes>(sums[0], sums[1], sums[2], sums[3], within);
    link += within % kLinks;
    if (within >= kLinks || link >= end) continue;
    if (op.accumulate) g += op.gradient[link];
    if (step.values) step.at(link, g);
    else op.gradient[link] = g;
  }

  if (!op.biasGradient || node >= op.pattern.rows) return;
  const float* const gradients = dy.data + int64_t{node} * dy.panel;
  float sum = 0.f;
  for (int32_t p = 0; p < sampled.panels; ++p) {
    const int32_t live = liveColumns(x.columns, x.capacity, x.panel, p);
    for (int32_t column = lane; column < live; column += kWarp) sum += loadReused(gradients + p * dyPanel + column);
  }
#pragma unroll
  for (int distance = kWarp / 2; distance > 0; distance /= 2) sum += __shfl_xor_sync(kWholeWarp, sum, distance);
  if (lane > 0) return;
  if (op.accumulateBias) sum += op.biasGradient[node];
  if (op.fusedBias.values) SgdStep(op.fusedBias).at(node, sum);
  else op.biasGradient[node] = sum;
}

}  // namespace

Status sddmm(Backend& backend, const Sddmm& op) {
  Cuda& cuda = cudaOf(backend);
  if (op.fusedTransposed.values) HEBB_RETURN_IF_ERROR(spmmTransposed(backend, op.fusedTransposed));
  const int64_t nodes = op.pattern.rows > op.pattern.cols ? op.pattern.rows : op.pattern.cols;
  const int64_t blocks = (nodes + kThreads / kWarp - 1) / (kThreads / kWarp);
  return launch(cuda, "sddmm", op.input.panel > 16 ? gradientColumns<8> : gradientColumns<4>, blocks, dim3(kThreads), 0,
                Sampled{op, op.input.panels(), cuda.failure()});
}

}  // namespace hebb::cuda
