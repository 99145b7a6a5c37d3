// Chooses new links by the dense gradient dY X^T. A block computes a tile of 64 x 64 gradients: 16 columns of the batch
// at a time come into shared memory from both sides, a thread keeps 4 x 4 sums in registers, and what belongs to
// missing links enters the race (growth.cuh) from there. Sums run over the columns of the batch in their order, so they
// are those of the CPU's levels that fuse multiply and add, bit for bit. Existing links are known by a word of 64 bits
// for each row of the tile. Of the random words, which break ties alone, none is drawn before gradients agree in their
// first 22 bits.
//
// Roofline, M x N, batch B: 2 M N B flop in fp32 a pass, mostly three passes; 8 shared loads of 16 bytes for 64
// multiply-adds; M N B / 64 floats twice from L2.
#include "hebb/gradient_growth.h"

#include "growth.cuh"
#include "launch.cuh"
#include "search.cuh"

namespace hebb::cuda {
namespace {

constexpr const char* kName = "regrowByGradient";
constexpr int kTile = 64, kDepth = 16, kThreads = 256;
constexpr int64_t kMostBlocks = 2048;
constexpr float kLargest = 3.402823466e38f;

struct Race {
  RegrowByGradient op;
  Topology kept;
  Candidates candidates;
  Count* bad;  // the first cell whose gradient is not finite
  int64_t rowTiles, tiles;
};

/// A tile of one operand: [column of the batch][neuron].
using Side = float (*)[kTile];

/// Brings 16 columns of the batch from `column` on for the tile's neurons into shared memory; what is not there is 0.
/// `stride` is that of the panels.
__device__ __forceinline__ void fetch(const Activations& a, int64_t stride, int32_t firstNeuron, int32_t column,
                                      int32_t columns, Side side) {
  const int thread = static_cast<int>(threadIdx.x), i = thread % kTile, k = thread / kTile * 4, c = column + k;
  float4 v = make_float4(0.f, 0.f, 0.f, 0.f);
  if (firstNeuron + i < a.features && c < columns) {
    // Panels are padded to 16.
    v = load4(a.data + c / a.panel * stride + int64_t{firstNeuron + i} * a.panel + c % a.panel);
    if (c + 1 >= columns) v.y = 0.f;
    if (c + 2 >= columns) v.z = 0.f;
    if (c + 3 >= columns) v.w = 0.f;
  }
  side[k][i] = v.x;
  side[k + 1][i] = v.y;
  side[k + 2][i] = v.z;
  side[k + 3][i] = v.w;
}

/// Calls body(row, column, magnitude) for the missing links of the block's tiles. Called by the whole block.
template <class Body>
__device__ __forceinline__ void eachGradient(const Race& race, const Body& body) {
  HEBB_SHARED(float, ofRows, [kDepth][kTile]);
  HEBB_SHARED(float, ofColumns, [kDepth][kTile]);
  HEBB_SHARED(uint64_t, taken, [kTile]);
  const Activations &dy = race.op.outputGradient, &x = race.op.input;
  const int64_t dyStride = dy.panelStride(), xStride = x.panelStride();
  const int32_t columns = x.columns();
  const int thread = static_cast<int>(threadIdx.x), row = thread / 16 * 4, column = thread % 16 * 4;
  for (int64_t tile = static_cast<int64_t>(blockIdx.x); tile < race.tiles; tile += static_cast<int64_t>(gridDim.x)) {
    const int32_t firstRow = static_cast<int32_t>(tile % race.rowTiles) * kTile,
                  firstColumn = static_cast<int32_t>(tile / race.rowTiles) * kTile;
    if (thread < kTile) {
      uint64_t word = 0;
      if (firstRow + thread < race.kept.rows) {
        const int32_t end = race.kept.rowOffsets[firstRow + thread + 1];
        int32_t k = lowerBound(race.kept.columnIndices, race.kept.rowOffsets[firstRow + thread], end, firstColumn);
        for (; k < end && race.kept.columnIndices[k] - firstColumn < kTile; ++k)
          word |= uint64_t{1} << (race.kept.columnIndices[k] - firstColumn);
      }
      taken[thread] = word;
    }
    float4 sum0 = make_float4(0.f, 0.f, 0.f, 0.f), sum1 = sum0, sum2 = sum0, sum3 = sum0;
    for (int32_t c = 0; c < columns; c += kDepth) {
      fetch(dy, dyStride, firstRow, c, columns, ofRows);
      fetch(x, xStride, firstColumn, c, columns, ofColumns);
      __syncthreads();
#pragma unroll
      for (int k = 0; k < kDepth; ++k) {
        const float4 a = load4(&ofRows[k][row]), b = load4(&ofColumns[k][column]);
        sum0 = mulAdd4(a.x, b, sum0);
        sum1 = mulAdd4(a.y, b, sum1);
        sum2 = mulAdd4(a.z, b, sum2);
        sum3 = mulAdd4(a.w, b, sum3);
      }
      __syncthreads();
    }
    const auto emit = [&](int r, float4 sums) {
      const int32_t i = firstRow + row + r;
      if (i >= race.kept.rows) return;
      const uint64_t word = taken[row + r] >> column;
      const auto one = [&](int lane, float sum) {
        if (firstColumn + column + lane < race.kept.cols && !(word >> lane & 1))
          body(i, firstColumn + column + lane, fabsf(sum));
      };
      one(0, sums.x);
      one(1, sums.y);
      one(2, sums.z);
      one(3, sums.w);
    };
    emit(0, sum0);
    emit(1, sum1);
    emit(2, sum2);
    emit(3, sum3);
    __syncthreads();
  }
}

__global__ void __launch_bounds__(kThreads) countGradients(Race race, int pass, Count* all) {
  HEBB_SHARED(int32_t, bins, [kDigits]);
  const Threshold* const floor = race.candidates.floor;
  if (floor->settled) return;
  const Threshold known = *floor;
  const Draw draw = race.candidates.drawNow();
  clearBins(bins);
  __syncthreads();
  eachGradient(race, [&](int32_t row, int32_t column, float magnitude) {
    if (!(magnitude <= kLargest)) {
      const Count cell = static_cast<Count>(row) * static_cast<Count>(race.kept.cols) + static_cast<Count>(column);
      atomicMin(race.bad, cell);
    } else if (magnitude > 0.f) {
      uint64_t rank = rankOf(magnitude, 0);  // enough for the first two digits
      if (pass >= 2) {
        if ((rank ^ known.rank) >> digitShift(1)) return;
        rank = rankAt(magnitude, static_cast<uint32_t>(row), static_cast<uint32_t>(column), draw, false, 1.f);
      }
      countRank(known, pass, rank, bins);
    }
  });
  __syncthreads();
  addBins(bins, all);
}

/// Lists the candidates at the floor or above it, in any order.
__global__ void __launch_bounds__(kThreads) listGradients(Race race) {
  const uint64_t floor = race.candidates.floor->rank;
  if (race.candidates.floor->wanted == 0) return;
  const Draw draw = race.candidates.drawNow();
  eachGradient(race, [&](int32_t row, int32_t column, float magnitude) {
    if (!(magnitude > 0.f) || rankOf(magnitude, UINT32_MAX) < floor) return;
    const uint64_t rank =
        rankAt(magnitude, static_cast<uint32_t>(row), static_cast<uint32_t>(column), draw, false, 1.f);
    if (rank >= floor) race.candidates.list(rank, row, column, race.kept.cols);
  });
}

__global__ void beginGradients(Count* bad) { *bad = UINT64_MAX; }

__global__ void judge(RegrowByGradient op, const Count* bad, Failure* failure) {
  if (*bad == UINT64_MAX || failed(failure)) return;
  const Count cols = static_cast<Count>(op.links.cols);
  *failure = {Problem::gradient, 0, static_cast<int64_t>(*bad / cols << 32 | *bad % cols), 0, op.layer};
}

}  // namespace

Status regrowByGradient(Backend& backend, const RegrowByGradient& op) {
  Cuda& cuda = cudaOf(backend);
  Growth growth(cuda, {kName, op.links, op.changes, op.count, op.update, op.seed, op.layer, Problem::gradientLinks});
  HEBB_RETURN_IF_ERROR(growth.begin());
  Scratch<Count> bad(cuda);
  HEBB_RETURN_IF_ERROR(bad.allocate(1));
  HEBB_RETURN_IF_ERROR(launch(cuda, kName, beginGradients, 1, dim3(1), 0, bad.data()));
  const int64_t rowTiles = (op.links.rows - 1) / kTile + 1, tiles = rowTiles * ((op.links.cols - 1) / kTile + 1),
                blocks = tiles < kMostBlocks ? tiles : kMostBlocks;
  const auto raceOf = [&](const Candidates& candidates) {
    return Race{op, growth.kept(), candidates, bad.data(), rowTiles, tiles};
  };
  HEBB_RETURN_IF_ERROR(growth.race(
      [&](const Candidates& candidates, int pass, Count* bins) {
        return launch(cuda, kName, countGradients, blocks, dim3(kThreads), 0, raceOf(candidates), pass, bins);
      },
      [&](const Candidates& candidates) {
        return launch(cuda, kName, listGradients, blocks, dim3(kThreads), 0, raceOf(candidates));
      }));
  HEBB_RETURN_IF_ERROR(launch(cuda, kName, judge, 1, dim3(1), 0, op, bad.data(), cuda.failure()));
  return growth.finish();
}

}  // namespace hebb::cuda
