// The weights' gradient on the links alone: for each link (i, j) the dot of row i of dY with row j of X over the batch.
// The optimizer's step can follow at once, on the gradient in the register. The product that may go along is dX = W^T
// dY.
//
//   apart     A warp has one row of X, and the links of that input, whose values lie side by side. 8 lanes share a link
//             (4 where a panel has 16 columns), each with every eighth four columns, and take 4 links at a time, so
//             that what they fetched of X serves four rows of dY, and a gradient is complete, over all panels, before
//             it is written once.
//               lanes    0..7        8..15       16..23       24..31
//               links    0 1 2 3     4 5 6 7     8 9 10 11    12 13 14 15     of the input, then the next sixteen
//               columns  4 l .. 4 l + 3 and 32 + 4 l .. 32 + 4 l + 3 of each panel, l the lane
//             A warp also adds up a row of dY, for the bias. The product is a launch of its own before it (spmm.cu).
//   together  The product's kernel (row_sums.cuh), in which the lanes that have a slice of dY multiply it by the same
//             columns of X too and add these products over the team. One pass over dY, values and links, where the
//             batch is one panel. With several, a gradient would wait for all of them and the panels could not be
//             spread over warps; the two launches then have more to gain from variants of their own.
// The links of a hub are shared by several warps (segments.cuh): its gradients do not meet, and its row of dX is added
// as the product's file says.
//
// The lanes of a link add what they have in a fixed tree, columns 4 l and 32 + 4 l first. The order of summation
// depends on the panel's width and not on the links, the rows, the number of valid columns or the variant: together has
// the bits of apart. It is not the CPU's: the results differ by at most (columns / 8 + 4) * 2^-24 * sum |dy x|.
//
// Roofline, B live columns, L links, M rows, N columns of W: 2 L B flop, 4 L B with the product; at least 4 B (M + N) +
// 8 L bytes from memory (16 L, with the optimizer and momentum 24 L; 4 B N more with the product). On chip, where the
// limit is, at 0.5 flop a byte:
//   apart     4 L B bytes of dY from L1 or L2, and a quarter of that of X from L1; with the product 8 L B, and 8 L
//             bytes of links and values again
//   together  4 L B bytes of dY in all, 1 flop a byte, and one launch in place of two: at batch 32 and 25,000 links,
//             where either moves 3 MB in about a microsecond, that is most of what it saves
#include "hebb/sddmm.h"

#include "epilogue.cuh"
#include "row_sums.cuh"
#include "sgd.cuh"
#include "variant.h"

namespace hebb::cuda {
namespace {

constexpr int kThreads = 128, kWarps = kThreads / kWarp;
// Blocks that a multiprocessor holds at once, so that ptxas has registers for all loads of a pass.
constexpr int kResident = 6;
constexpr int kLinks = 4;      // links that the lanes of a group take at a time
constexpr int kSegment = 256;  // links of an input that are the work of one warp

struct Sampled {
  Sddmm op;
  int32_t panels;
  Segments segments;
  const Failure* failure;
};

/// Four columns of a row, or zeros where there are none.
__device__ __forceinline__ float4 loadColumns(const float* row, int32_t column, int32_t live) {
  return column < live ? loadReused4(row + column) : make_float4(0.f, 0.f, 0.f, 0.f);
}

__device__ __forceinline__ float dot4(float4 a, float4 b, float sum) {
  return fmaf(a.w, b.w, fmaf(a.z, b.z, fmaf(a.y, b.y, fmaf(a.x, b.x, sum))));
}

/// What a lane has of two numbers that its partner at `distance` has too: it keeps one, `second` or not, adds the
/// partner's, and gives away the other.
__device__ __forceinline__ float keepOne(float first, float other, bool second, int distance) {
  return (second ? other : first) + __shfl_xor_sync(kWholeWarp, second ? first : other, distance);
}

/// The sums of four links, added over the 4, 8 or 16 lanes that share them: first over the distance 8, then 1, 2 and 4.
/// A lane returns one of them, that of link i where it is laneOf(i). Called by the whole warp.
template <int Lanes>
__device__ __forceinline__ float sumOfLanes(float s0, float s1, float s2, float s3, int within) {
  const bool odd = within & 1;
  if constexpr (Lanes == 16) {
    const bool upper = within & 8;
    const float a = keepOne(s0, s2, upper, 8), b = keepOne(s1, s3, upper, 8);
    float sum = keepOne(a, b, odd, 1);
    sum += __shfl_xor_sync(kWholeWarp, sum, 2);
    return sum + __shfl_xor_sync(kWholeWarp, sum, 4);
  } else {
    const float a = keepOne(s0, s1, odd, 1), b = keepOne(s2, s3, odd, 1);
    const float sum = keepOne(a, b, within & 2, 2);
    if constexpr (Lanes == 4) return sum;
    return sum + __shfl_xor_sync(kWholeWarp, sum, 4);
  }
}
template <int Lanes>
__device__ __forceinline__ int laneOf(int link) {
  return Lanes == 16 ? (link & 1) | (link & 2) << 2 : link;
}

/// A link's gradient is complete.
__device__ __forceinline__ void emitGradient(const Sddmm& op, const SgdStep& step, int32_t link, float g) {
  if (op.accumulate) g += op.gradient[link];
  if (step.values) step.at(link, g);
  else op.gradient[link] = g;
}

/// The sum of a row of dY, by a warp.
__device__ __forceinline__ void sumRow(const Sddmm& op, int32_t panels, int32_t row, int lane) {
  const Activations& dy = op.outputGradient;
  const float* const gradients = dy.data + int64_t{row} * dy.panel;
  const int64_t stride = dy.panelStride();
  float sum = 0.f;
  for (int32_t p = 0; p < panels; ++p) {
    const int32_t live = liveColumns(dy.axis, dy.capacity, dy.panel, p);
    for (int32_t column = lane; column < live; column += kWarp) sum += loadReused(gradients + p * stride + column);
  }
#pragma unroll
  for (int distance = kWarp / 2; distance > 0; distance /= 2) sum += __shfl_xor_sync(kWholeWarp, sum, distance);
  if (lane > 0) return;
  if (op.accumulateBias) sum += op.biasGradient[row];
  if (op.fusedBias.values) SgdStep(op.fusedBias).at(row, sum);
  else op.biasGradient[row] = sum;
}

// ---- apart

template <int Lanes>
__global__ void __launch_bounds__(kThreads, kResident) gradientColumns(Sampled sampled) {
  constexpr int kGroups = kWarp / Lanes, kPass = kGroups * kLinks;  // links of a warp at a time
  const Sddmm& op = sampled.op;
  const Activations &dy = op.outputGradient, &x = op.input;
  const int thread = static_cast<int>(threadIdx.x), lane = thread % kWarp, within = lane % Lanes, group = lane / Lanes;
  const int32_t item = static_cast<int32_t>(blockIdx.x) * kWarps + thread / kWarp;
  if (failed(sampled.failure)) return;
  const int64_t dyPanel = dy.panelStride(), xPanel = x.panelStride();
  const Segment part = sampled.segments.at(op.pattern.columnOffsets, op.pattern.cols, item);
  const float* const inputs = x.data + int64_t{part.row} * x.panel;
  const int32_t end = part.begin + part.count;
  const SgdStep step(op.fusedValues);

  for (int32_t first = part.begin; first < end; first += kPass) {
    // A link that is not there is the last one again.
    const int32_t link = first + group * kLinks;
    const float* rows[kLinks];
#pragma unroll
    for (int j = 0; j < kLinks; ++j) {
      const int32_t k = link + j < end ? link + j : end - 1;
      rows[j] = dy.data + int64_t{loadReused(op.pattern.rowIndices + k)} * dy.panel;
    }
    float low[kLinks] = {}, high[kLinks] = {};
    for (int32_t p = 0; p < sampled.panels; ++p) {
      const int32_t live = liveColumns(x.axis, x.capacity, x.panel, p);
      if (live <= 0) break;
      const int32_t column = within * 4;
      const float4 v = loadColumns(inputs + p * xPanel, column, live);
#pragma unroll
      for (int j = 0; j < kLinks; ++j) low[j] = dot4(v, loadColumns(rows[j] + p * dyPanel, column, live), low[j]);
      if (Lanes == 4 || live <= 32) continue;
      const float4 w = loadColumns(inputs + p * xPanel, column + 32, live);
#pragma unroll
      for (int j = 0; j < kLinks; ++j)
        high[j] = dot4(w, loadColumns(rows[j] + p * dyPanel, column + 32, live), high[j]);
    }
    const float g = sumOfLanes<Lanes>(low[0] + high[0], low[1] + high[1], low[2] + high[2], low[3] + high[3], within);
    if (within < kLinks && link + within < end) emitGradient(op, step, link + within, g);
  }

  const int32_t row = item - sampled.segments.cuts;
  if (op.biasGradient && row >= 0 && row < op.pattern.rows) sumRow(op, sampled.panels, row, lane);
}

// ---- together

/// What the product's lanes do with the slices of dY besides.
struct Gradients {
  Sddmm op;

  template <int kRow>
  struct Of {
    static constexpr int kTeam = kRow / 2;
    const Sddmm& op;
    const SgdStep step;
    const int within;
    const bool holds;  // columns of the lane
    float4 input;      // of X
    float mine = 0.f;  // the gradient of the link that the lane fetched

    __device__ __forceinline__ Of(const Gradients& gradients, const Segment& part, int within, int column, int32_t live)
        : op(gradients.op), step(gradients.op.fusedValues), within(within), holds(column < live) {
      input = part.count > 0 && holds ? loadReused4(op.input.data + int64_t{part.row} * op.input.panel + column)
                                      : make_float4(0.f, 0.f, 0.f, 0.f);
    }
    __device__ __forceinline__ void slices(const float4 (&slice)[kLinks], int32_t done) {
      float dots[kLinks];
#pragma unroll
      for (int i = 0; i < kLinks; ++i) dots[i] = holds ? dot4(input, slice[i], 0.f) : 0.f;
      const float sum = sumOfLanes<kTeam>(dots[0], dots[1], dots[2], dots[3], within % kTeam);
      const int link = within / 2 - done;  // of the team that the lane's link is for
      const float g = __shfl_sync(kWholeWarp, sum, within % 2 * kTeam + laneOf<kTeam>(link & (kLinks - 1)), kRow);
      if (link >= 0 && link < kLinks) mine = g;
    }
    __device__ __forceinline__ void links(int32_t k, bool there) {
      if (there) emitGradient(op, step, k, mine);
    }
  };
};

template <int Team>
__device__ __forceinline__ void multiplyItems(const Product& product, const BackwardEpilogue& epilogue,
                                              const Gradients& gradients, int32_t live) {
  constexpr int kRow = 2 * Team;
  const int32_t warp = static_cast<int32_t>(blockIdx.x) * kWarps + static_cast<int32_t>(threadIdx.x) / kWarp;
  const int32_t item = warp * (kWarp / kRow) + static_cast<int32_t>(threadIdx.x) % kWarp / kRow;
  multiplyRow<Team>(product, epilogue, gradients, product.segments.at(product.links.offsets, product.rows, item), 0,
                    product.x, 0, live);
}

__global__ void __launch_bounds__(kThreads, kResident)
    gradientsAndProduct(Product product, BackwardEpilogue epilogue, Gradients gradients, int32_t itemBlocks) {
  if (failed(product.failure)) return;
  const int32_t block = static_cast<int32_t>(blockIdx.x), thread = static_cast<int32_t>(threadIdx.x);
  if (block >= itemBlocks) {
    const int32_t row = (block - itemBlocks) * kWarps + thread / kWarp;
    if (row < gradients.op.pattern.rows) sumRow(gradients.op, 1, row, thread % kWarp);
    return;
  }
  const int32_t live = product.live(0, 0);
  if (live > 32) multiplyItems<16>(product, epilogue, gradients, live);
  else if (live > 16) multiplyItems<8>(product, epilogue, gradients, live);
  else multiplyItems<4>(product, epilogue, gradients, live);
}

int64_t blocksOf(int64_t items, int32_t itemsOfBlock) { return items > 0 ? (items - 1) / itemsOfBlock + 1 : 0; }

Status together(Cuda& cuda, const Sddmm& op) {
  const SpmmTransposed& back = op.fusedTransposed;
  const Csr& w = op.pattern;
  const Product product = productOf(cuda, Links{w.columnOffsets, w.rowIndices, nullptr, back.values}, w.cols, w.rows,
                                    w.capacity, back.outputGradient, back.inputGradient);
  const int64_t itemBlocks = blocksOf(int64_t{w.cols} + product.segments.cuts, kThreads / (2 * teamFor(product.panel)));
  const int64_t biasBlocks = op.biasGradient ? blocksOf(w.rows, kWarps) : 0;
  return launch(cuda, "sddmm", gradientsAndProduct, itemBlocks + biasBlocks, dim3(kThreads), 0, product,
                backwardEpilogue(back), Gradients{op}, static_cast<int32_t>(itemBlocks));
}

}  // namespace

Status sddmm(Backend& backend, const Sddmm& op) {
  Cuda& cuda = cudaOf(backend);
  const int32_t panels = op.input.panels();
  if (op.fusedTransposed.values) {
    bool one = false;
    HEBB_RETURN_IF_ERROR(chooseVariant("HEBB_CUDA_SDDMM", "together", "apart", panels == 1, &one));
    if (one && panels == 1) return together(cuda, op);
    HEBB_RETURN_IF_ERROR(spmmTransposed(backend, op.fusedTransposed));
  }
  const Csr& w = op.pattern;
  const Sampled sampled{op, panels, Segments::of(kSegment, w.rows, w.capacity), cuda.failure()};
  const int64_t items = int64_t{sampled.segments.cuts} + (w.rows > w.cols ? w.rows : w.cols);
  return launch(cuda, "sddmm", op.input.panel > 16 ? gradientColumns<8> : gradientColumns<4>, blocksOf(items, kWarps),
                dim3(kThreads), 0, sampled);
}

}  // namespace hebb::cuda
