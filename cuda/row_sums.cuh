// Rows of a sparse product, fetched through L1 and L2: a warp over 1, 2 or 4 rows and up to 64, 32 or 16 columns of the
// batch. A lane holds four columns, so every link fetches its slice of X in 16-byte loads. Two teams of lanes share a
// row: one adds its even links, the other its odd ones, and the two sums are added at the end. The links of a row are
// fetched by all its lanes at once and handed out by shuffles.
//   link   0 1 2 3 4 5 ...   fetched, one a lane
//   team   0 1 0 1 0 1       a team: 16, 8 or 4 lanes x 4 columns
// A row that is longer than a segment (segments.cuh) is added up by several warps, a segmented reduction: each leaves
// its sum in memory, and the one that comes last adds these in their order. Which one that is changes no bit.
#pragma once

#include "segments.cuh"

namespace hebb::cuda {

inline constexpr int kColumns = 64;  // columns that a block computes, at most

/// Lanes of a team that covers `columns` (a multiple of 16), four to a lane.
__host__ __device__ constexpr int teamFor(int columns) { return columns > 32 ? 16 : columns > 16 ? 8 : 4; }

/// The links of the product's rows: places in X, and weights (through `slots` unless null).
struct Links {
  const int32_t* offsets;
  const int32_t* indices;
  const int32_t* slots;
  const float* values;
};

/// What is multiplied, where the result goes, and how the work is cut.
struct Product {
  Links links;
  const float* x;            // [xFeatures][panel] of the first panel
  float* y;                  // [rows][panel] of the first panel
  int64_t xStride, yStride;  // from a panel to the next
  int32_t xFeatures, rows;
  int32_t panel, capacity;
  const Axis* axis;
  const Failure* failure;
  int32_t columnBlocks;  // blocks over the columns of one panel
  Segments segments;
  float* sums;  // [blocks over columns][2][cuts][kColumns] of the segments of long rows: the first ones, and those that
                // begin at cuts
  int32_t* arrivals;  // [blocks over columns][cuts] segments of a long row that are in `sums`; 0 when nobody is at work

  /// Columns of the axis that the block has, from `first` of panel p on: 0 to kColumns.
  __device__ __forceinline__ int32_t live(int32_t p, int32_t first) const {
    const int32_t live = liveColumns(axis, capacity, panel, p) - first;
    return live < kColumns ? live : kColumns;
  }
};

/// The links of rows are cut into segments of this many, so that a row takes at most about 10 us: an eighth of the
/// widest row, within limits. Longer ones where the device has no room for so many sums.
inline Segments segmentsFor(int32_t width, int32_t capacity, int32_t columnBlocks) {
  int32_t length = width / 8 < 256 ? 256 : width / 8 < 1024 ? width / 8 / 32 * 32 : 1024;
  while (int64_t{(capacity - 1) / length} * columnBlocks > Cuda::kCuts) length *= 2;
  return Segments::of(length, width, capacity);
}

/// A product without its blocks. `width`: links of a row, at most.
inline Product productOf(Cuda& cuda, const Links& links, int32_t rows, int32_t width, int32_t capacity,
                         const Activations& x, const Activations& y) {
  const int32_t columnBlocks = (y.panel - 1) / kColumns + 1;
  return {links,
          x.data,
          y.data,
          x.panelStride(),
          y.panelStride(),
          x.features,
          rows,
          y.panel,
          y.capacity,
          y.axis,
          cuda.failure(),
          columnBlocks,
          segmentsFor(width, capacity, columnBlocks * y.panels()),
          cuda.sums(),
          cuda.arrivals()};
}

/// The sum of the row's segments, where all are there; it is then the caller's to store (the result). `sum` is this
/// segment's. Called by the whole warp; the first of a row's kRow lanes is `within` 0, and only a `team` 0 has columns.
template <int kRow>
__device__ __forceinline__ bool reduceSegments(const Product& product, const Segment& part, int32_t columnBlock,
                                               int within, int column, bool holds, float4& sum) {
  bool complete = part.row >= 0;
  const bool several = part.of > 1;
  if (!__any_sync(kWholeWarp, several)) return complete;
  const int32_t cuts = product.segments.cuts;
  float* const firsts = product.sums + int64_t{columnBlock} * 2 * cuts * kColumns + part.meeting * kColumns + column;
  float* const others = firsts + int64_t{cuts - 1} * kColumns;  // the second of a row at its meeting, and so on
  if (several && holds) store4(part.number == 0 ? firsts : others + int64_t{part.number} * kColumns, sum);
  __syncwarp();
  int32_t before = 0;
  if (several && within == 0) {
    __threadfence();
    before = atomicAdd(product.arrivals + int64_t{columnBlock} * cuts + part.meeting, 1);
    __threadfence();
  }
  before = __shfl_sync(kWholeWarp, before, 0, kRow);
  __syncwarp();
  if (!several) return complete;
  complete = before == part.of - 1;
  if (!complete) return false;
  // For the next product.
  if (within == 0) atomicExch(product.arrivals + int64_t{columnBlock} * cuts + part.meeting, 0);
  if (!holds) return true;
  sum = loadFresh4(firsts);
#pragma unroll 4
  for (int32_t i = 1; i < part.of; ++i)
    sum = each4([](float s, float more) { return s + more; }, sum, loadFresh4(others + int64_t{i} * kColumns));
  return true;
}

/// A product alone: nothing more is done with the links of a row.
struct NothingMore {
  template <int kRow>
  struct Of {
    __device__ __forceinline__ Of(const NothingMore&, const Segment&, int, int, int32_t) {}
    template <int kInFlight>
    __device__ __forceinline__ void slices(const float4 (&)[kInFlight], int32_t) {}
    __device__ __forceinline__ void links(int32_t, bool) {}
  };
};

/// The warp's segments times `live` columns (0 to 64). `x` points to the first of these columns in feature 0, `start`
/// is the place of it in y. `Team` and `live` are the same in the whole block and every loop here runs equally often in
/// the whole warp: its shuffles meet. `part` is that of the lane's row; `More` sees every slice and every link.
template <int Team, class Epilogue, class More>
__device__ __forceinline__ void multiplyRow(const Product& product, const Epilogue& epilogue, const More& more,
                                            const Segment& part, int32_t columnBlock, const float* x, int64_t start,
                                            int32_t live) {
  constexpr int kRow = 2 * Team;  // lanes that share a row
  constexpr int kInFlight = 4;    // links of a team that are fetched before the first is added; Team is a multiple
  const Links& links = product.links;
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  const int within = lane % kRow, team = within / Team, column = lane % Team * 4;
  // For one row too: it tells the compiler that the warp stays together.
  const int32_t longest = __reduce_max_sync(kWholeWarp, part.count);
  typename More::template Of<kRow> along(more, part, within, column, live);

  // A lane beyond the live columns reads what the last live one reads (the same bytes, no more traffic) and stores
  // nothing.
  x += column < live ? column : live > 4 ? live - 4 : 0;
  float4 sum = make_float4(0.f, 0.f, 0.f, 0.f);
  for (int32_t first = 0; first < longest; first += kRow) {
    // A link that is not there has no index and weighs -0: adding -0 * 0 changes no bit of any sum.
    int32_t index = -1;
    float value = -0.f;
    const int32_t k = part.begin + first + within;
    const bool there = first + within < part.count;
    if (there) {
      index = loadOnce(links.indices + k);
      value = links.slots ? loadReused(links.values + loadOnce(links.slots + k)) : loadOnce(links.values + k);
    }
    const int32_t left = longest - first, steps = left < kRow ? (left + 1) / 2 : Team;
    for (int32_t step = 0; step < steps; step += kInFlight) {  // a source is always below kRow
      float4 slice[kInFlight];
      float weight[kInFlight];
#pragma unroll
      for (int i = 0; i < kInFlight; ++i) {
        const int32_t from = __shfl_sync(kWholeWarp, index, 2 * (step + i) + team, kRow);
        slice[i] =
            from < 0 ? make_float4(0.f, 0.f, 0.f, 0.f) : loadReused4(x + static_cast<int64_t>(from) * product.panel);
      }
#pragma unroll
      for (int i = 0; i < kInFlight; ++i) weight[i] = __shfl_sync(kWholeWarp, value, 2 * (step + i) + team, kRow);
#pragma unroll
      for (int i = 0; i < kInFlight; ++i) sum = mulAdd4(weight[i], slice[i], sum);
      along.slices(slice, step);
    }
    along.links(k, there);
  }
  const float4 other = exchange4(sum, Team);
  sum = each4([](float even, float odd) { return even + odd; }, sum, other);
  const bool holds = team == 0 && column < live;
  if (reduceSegments<kRow>(product, part, columnBlock, within, column, holds, sum) && holds) {
    epilogue.store(product.y, start + static_cast<int64_t>(part.row) * product.panel + column, part.row, sum);
  }
}

}  // namespace hebb::cuda
