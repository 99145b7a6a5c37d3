// Sparse times dense. Forward: Y = act(W X + bias), over the CSR view, the values fetched through cscSlots. Backward: dX = W^T dY times act'(X), over
// the CSC view. Both are one kernel with two epilogues.
//
// K1, the only variant so far: a warp over 1, 2 or 4 rows and up to 64, 32 or 16 columns of the batch. A lane holds four columns, so every link
// fetches its slice of X in 16-byte loads. Two teams of lanes share a row: one adds its even links, the other its odd ones, and the two sums
// are added at the end. The links of a row are fetched by all its lanes at once and handed out by shuffles. It keeps nothing in shared memory;
// X is read through L1 and L2.
//   link   0 1 2 3 4 5 ...   fetched, one a lane
//   team   0 1 0 1 0 1       a team: 16, 8 or 4 lanes x 4 columns
//
// The sum runs in the order of cpu/spmm.cc and does not depend on the batch or the panel: the bits are those of the CPU levels that fuse
// multiply and add (x86-64-v3 and v4, arm64). Another order of summation may differ by (links of the row + 2) * 2^-24 * sum |w x|.
//
// Roofline, B live columns, L links, M rows, N columns of W: 2 L B flop; 4 L B bytes of X from L1 or L2; at least 8 L (forward: 12 L) + 4 M +
// 4 B (M + N) bytes from memory. 0.5 flop a byte on chip: the caches' bandwidth is the limit, not the arithmetic. Its weakness: the row of
// a hub is the work of one warp, and rows are not ordered by length.
#include "hebb/spmm.h"

#include "epilogue.cuh"

namespace hebb::cuda {
namespace {

constexpr int kThreads = 128;  // small blocks: a block holds its place until its longest row is done
constexpr int kResident = 8;   // blocks that fit a multiprocessor at once: asking for more makes ptxas save registers and wait for every load
constexpr int kColumns = 64;   // columns that a block computes, at most
constexpr int kInFlight = 4;   // links of a team that are fetched before the first is added

/// Lanes of a team that covers `columns` (a multiple of 16), four to a lane.
__host__ __device__ constexpr int teamFor(int columns) { return columns > 32 ? 16 : columns > 16 ? 8 : 4; }

/// The links of the product's rows: places in X, and weights (through `slots` unless null).
struct Links {
  const int32_t* offsets;
  const int32_t* indices;
  const int32_t* slots;
  const float* values;
};

/// What is multiplied, where the result goes, and how the blocks are laid over it.
struct Product {
  Links links;
  const float* x;  // [panels][xFeatures][panel]
  float* y;        // [panels][rows][panel]
  int32_t xFeatures, rows;
  int32_t panel, capacity;
  const int32_t* columns;
  const Failure* failure;
  int32_t rowBlocks;     // blocks over the rows
  int32_t columnBlocks;  // blocks over the columns of one panel
};

/// The warp's rows times `live` columns (16 to 64). `x` points to the first of these columns in feature 0, `start` is the place of it in y.
/// `Team` and `live` are the same in the whole block and every loop here runs equally often in the whole warp: its shuffles meet.
template <int Team, class Epilogue>
__device__ __forceinline__ void multiplyRows(const Product& product, const Epilogue& epilogue, int32_t rowBlock, const float* x, int64_t start,
                                             int32_t live) {
  constexpr int kRow = 2 * Team;  // lanes that share a row
  const Links& links = product.links;
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  const int within = lane % kRow, team = within / Team, column = lane % Team * 4;
  const int32_t warp = rowBlock * (kThreads / kWarp) + static_cast<int32_t>(threadIdx.x) / kWarp;
  const int32_t row = warp * (kWarp / kRow) + lane / kRow;

  int32_t begin = 0, count = 0;
  if (row < product.rows) {
    begin = loadReused(links.offsets + row);
    count = loadReused(links.offsets + row + 1) - begin;
  }
  const int32_t longest = __reduce_max_sync(kWholeWarp, count);  // for one row too: it tells the compiler that the warp stays together

  // A lane beyond the live columns reads what the last live one reads (the same bytes, no more traffic) and stores nothing.
  x += column < live ? column : live - 4;
  float4 sum = make_float4(0.f, 0.f, 0.f, 0.f);
  for (int32_t first = 0; first < longest; first += kRow) {
    // A link that is not there has no index and weighs -0: adding -0 * 0 changes no bit of any sum.
    int32_t index = -1;
    float value = -0.f;
    if (first + within < count) {
      const int32_t k = begin + first + within;
      index = loadOnce(links.indices + k);
      value = links.slots ? loadReused(links.values + loadOnce(links.slots + k)) : loadOnce(links.values + k);
    }
    const int32_t left = longest - first, steps = left < kRow ? (left + 1) / 2 : Team;
    for (int32_t step = 0; step < steps; step += kInFlight) {  // Team is a multiple of kInFlight: a source is always below kRow
      float4 slice[kInFlight];
      float weight[kInFlight];
#pragma unroll
      for (int i = 0; i < kInFlight; ++i) {
        const int32_t from = __shfl_sync(kWholeWarp, index, 2 * (step + i) + team, kRow);
        slice[i] = from < 0 ? make_float4(0.f, 0.f, 0.f, 0.f) : loadReused4(x + static_cast<int64_t>(from) * product.panel);
      }
#pragma unroll
      for (int i = 0; i < kInFlight; ++i) weight[i] = __shfl_sync(kWholeWarp, value, 2 * (step + i) + team, kRow);
#pragma unroll
      for (int i = 0; i < kInFlight; ++i) sum = mulAdd4(weight[i], slice[i], sum);
    }
  }
  const float4 other = exchange4(sum, Team);
  sum = each4([](float even, float odd) { return even + odd; }, sum, other);
  if (team == 0 && row < product.rows && column < live) {
    epilogue.store(product.y, start + static_cast<int64_t>(row) * product.panel + column, row, sum);
  }
}

/// Blocks of the same columns are neighbours: the slice of X that they share stays in L2.
template <class Epilogue>
__global__ void __launch_bounds__(kThreads, kResident) sparseProduct(Product product, Epilogue epilogue) {
  const int32_t block = static_cast<int32_t>(blockIdx.x);
  const int32_t rowBlock = block % product.rowBlocks, columnBlock = block / product.rowBlocks;
  const int32_t p = columnBlock / product.columnBlocks, first = columnBlock % product.columnBlocks * kColumns;
  int32_t live = liveColumns(product.columns, product.capacity, product.panel, p) - first;
  if (live <= 0 || failed(product.failure)) return;
  if (live > kColumns) live = kColumns;
  const float* x = product.x + static_cast<int64_t>(p) * product.xFeatures * product.panel + first;
  const int64_t start = static_cast<int64_t>(p) * product.rows * product.panel + first;
  // Fewer columns, smaller teams, more rows to a warp. The rows were cut for the panel's width, so the last blocks may find none left.
  switch (teamFor(live)) {
    case 16: return multiplyRows<16>(product, epilogue, rowBlock, x, start, live);
    case 8: return multiplyRows<8>(product, epilogue, rowBlock, x, start, live);
    default: return multiplyRows<4>(product, epilogue, rowBlock, x, start, live);
  }
}

/// The grid follows from the rows and the panels alone; the number of links and of valid columns is read on the device.
template <class Epilogue>
Status multiply(Cuda& cuda, const char* operation, const Links& links, int32_t rows, const Activations& x, const Activations& y,
                const Epilogue& epilogue) {
  const int32_t rowsOfBlock = kThreads / (2 * teamFor(y.panel < kColumns ? y.panel : kColumns));
  Product product{links, x.data, y.data, x.features, rows, y.panel, y.capacity, y.columns, cuda.failure(), 0, 0};
  product.rowBlocks = (rows - 1) / rowsOfBlock + 1;
  product.columnBlocks = (y.panel - 1) / kColumns + 1;
  const int64_t blocks = int64_t{product.rowBlocks} * product.columnBlocks * y.panels();
  return launch(cuda, operation, sparseProduct<Epilogue>, blocks, dim3(kThreads), 0, product, epilogue);
}

}  // namespace

Status spmm(Backend& backend, const Spmm& op) {
  const Csr& w = op.weights;
  return multiply(cudaOf(backend), "spmm", Links{w.rowOffsets, w.columnIndices, w.cscSlots, op.values}, w.rows, op.input, op.output,
                  ForwardEpilogue{op.bias, op.activation == Activation::relu});
}

Status spmmTransposed(Backend& backend, const SpmmTransposed& op) {
  const Csr& w = op.weights;
  return multiply(cudaOf(backend), "spmmTransposed", Links{w.columnOffsets, w.rowIndices, nullptr, op.values}, w.cols, op.outputGradient,
                  op.inputGradient, BackwardEpilogue{op.activation == Activation::relu ? op.input.data : nullptr, op.accumulate});
}

}  // namespace hebb::cuda
