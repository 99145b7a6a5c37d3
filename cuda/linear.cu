// A dense layer: three products C = A B of the same kernel, which differ in how A and B lie in memory and in what is done with a sum.
//                     C             A                 B              summed over
//   linear            Y  [M][B]     W     [M][N]      X   [N][B]     N
//   linearTransposed  dX [N][B]     W^T   [N][M]      dY  [M][B]     M
//   linearGradient    dW [M][N]     dY    [M][B]      X^T [B][N]     B, and the sums of A's rows for the bias
//
// A block computes a tile of C. It brings 16 places of the sum at a time into shared memory, both operands as [place][row or column], while those before are
// multiplied; a thread keeps 4 columns of 4 rows or of 1 row in registers (outer products in fp32 FFMA, no tensor cores yet).
//   wide    64 x 64, 256 threads of 4 x 4: the sum runs over all places in their order, which for linear and linearTransposed is the CPU's: the
//           same bits as the levels that fuse multiply and add.
//   narrow  16 x 16, 8 teams of 64 threads of 1 x 4, each with every eighth 16 places, added in the order of the teams: for a C of at most 32 rows, such as
//           a network's last layer, which has too few tiles to fill a GPU and long sums.
// The variant follows from the rows of C alone, and no sum depends on how many columns are valid, so a column's result does not depend on the batch. Where the
// order is not the CPU's: within (places + 2) * 2^-24 * sum |a b| of it.
//
// Roofline, wide: 2 M N B flop; 0.5 byte of shared memory a flop; M N / 64 B + M B / 64 N operands from L2: bound by FFMA where all tiles together fill
// the GPU, by latency where they do not.
#include "hebb/linear.h"

#include "epilogue.cuh"

namespace hebb::cuda {
namespace {

constexpr int kDepth = 16;        // places of the sum in shared memory at a time: no more than the padding of a batch
constexpr int kNarrowRows = 32;   // C with at most as many rows takes the narrow variant

/// The shape of a block: RowThreads x ColumnThreads threads of Rows x 4 numbers, and Teams of them that share the sum.
template <int Rows, int RowThreads, int ColumnThreads, int Teams>
struct Shape {
  static constexpr int kRows = Rows, kColumnThreads = ColumnThreads, kTeams = Teams;
  static constexpr int kTeam = RowThreads * ColumnThreads, kThreads = kTeam * Teams;
  static constexpr int kTileRows = Rows * RowThreads, kTileColumns = 4 * ColumnThreads;
  static_assert(kTileRows * kDepth == 4 * kTeam && kTileColumns * kDepth == 4 * kTeam, "a thread fetches four numbers of each operand");
};
using Wide = Shape<4, 16, 16, 1>;
using Narrow = Shape<1, 16, 4, 8>;

/// An operand whose neighbours in memory are places of the sum: element (i, k) is at i * stride + k, in panels of the batch where k is a column.
struct AlongSum {
  const float* data;
  int64_t stride, panelStride;
  int32_t panel;  // places to a panel, a multiple of kDepth
  bool vector;    // four neighbours are one access

  __device__ __forceinline__ AlongSum from(int64_t i) const { return {data + i * stride, stride, panelStride, panel, vector}; }

  template <int Tile>
  __device__ __forceinline__ float4 fetch(int thread, int32_t place, int32_t count, int32_t depth) const {
    const int i = thread % Tile, k = place + thread / Tile * 4;
    const float* at = data + k / panel * panelStride + k % panel + i * stride;
    float4 v = make_float4(0.f, 0.f, 0.f, 0.f);
    if (i >= count || k >= depth) return v;
    if (vector && k + 4 <= depth) return loadReused4(at);
    v.x = loadReused(at);
    if (k + 1 < depth) v.y = loadReused(at + 1);
    if (k + 2 < depth) v.z = loadReused(at + 2);
    if (k + 3 < depth) v.w = loadReused(at + 3);
    return v;
  }

  /// Neighbours of a warp are neighbours in the tile, so that turning costs no conflict between banks.
  template <int Tile>
  __device__ __forceinline__ static void place(float (*tile)[Tile], int thread, float4 v) {
    const int i = thread % Tile, k = thread / Tile * 4;
    tile[k][i] = v.x;
    tile[k + 1][i] = v.y;
    tile[k + 2][i] = v.z;
    tile[k + 3][i] = v.w;
  }
};

/// An operand whose neighbours in memory are rows or columns of C: element (i, k) is at k * stride + i.
struct AlongResult {
  const float* data;
  int64_t stride;
  bool vector;

  __device__ __forceinline__ AlongResult from(int64_t i) const { return {data + i, stride, vector}; }

  template <int Tile>
  __device__ __forceinline__ float4 fetch(int thread, int32_t place, int32_t count, int32_t depth) const {
    const int i = thread % (Tile / 4) * 4, k = place + thread / (Tile / 4);
    const float* at = data + k * stride + i;
    float4 v = make_float4(0.f, 0.f, 0.f, 0.f);
    if (i >= count || k >= depth) return v;
    if (vector && i + 4 <= count) return loadReused4(at);
    v.x = loadReused(at);
    if (i + 1 < count) v.y = loadReused(at + 1);
    if (i + 2 < count) v.z = loadReused(at + 2);
    if (i + 3 < count) v.w = loadReused(at + 3);
    return v;
  }

  template <int Tile>
  __device__ __forceinline__ static void place(float (*tile)[Tile], int thread, float4 v) {
    store4(&tile[thread / (Tile / 4)][thread % (Tile / 4) * 4], v);
  }
};

/// The sums that a thread holds.
template <int Rows>
struct Sums {
  float4 of[Rows];
  float rowSum[Rows];  // of A
};

/// a times the tile of B and its own sum.
template <int Rows>
__device__ __forceinline__ void multiply(Sums<Rows>& sums, const float* a, float4 b, bool sumRows) {
  float4 rows = make_float4(0.f, 0.f, 0.f, 0.f);
  if constexpr (Rows == 4) rows = load4(a);
  else rows.x = *a;
  const float at[4] = {rows.x, rows.y, rows.z, rows.w};
#pragma unroll
  for (int r = 0; r < Rows; ++r) {
    sums.of[r] = mulAdd4(at[r], b, sums.of[r]);
    if (sumRows) sums.rowSum[r] += at[r];
  }
}

/// Sums of one tile of C, from the operands that begin with it: `rows` and `columns` of it are there, and `depth` places of the sum. The first team has the
/// result. Called by the whole block.
template <class S, class A, class B>
__device__ __forceinline__ void tileSums(const A& a, const B& b, int32_t rows, int32_t columns, int32_t depth, bool sumRows, Sums<S::kRows>& sums) {
  HEBB_SHARED(float, tileA, [S::kTeams][kDepth][S::kTileRows]);
  HEBB_SHARED(float, tileB, [S::kTeams][kDepth][S::kTileColumns]);
  const int thread = static_cast<int>(threadIdx.x) % S::kTeam, team = static_cast<int>(threadIdx.x) / S::kTeam;
  const int row = thread / S::kColumnThreads * S::kRows, column = thread % S::kColumnThreads * 4;
#pragma unroll
  for (int r = 0; r < S::kRows; ++r) {
    sums.of[r] = make_float4(0.f, 0.f, 0.f, 0.f);
    sums.rowSum[r] = 0.f;
  }
  // Places beyond the sum's end are zeros on both sides, and add nothing.
  float4 nextA = a.template fetch<S::kTileRows>(thread, team * kDepth, rows, depth);
  float4 nextB = b.template fetch<S::kTileColumns>(thread, team * kDepth, columns, depth);
  for (int32_t place = 0; place < depth; place += S::kTeams * kDepth) {
    A::template place<S::kTileRows>(tileA[team], thread, nextA);
    B::template place<S::kTileColumns>(tileB[team], thread, nextB);
    __syncthreads();
    const int32_t next = place + (S::kTeams + team) * kDepth;
    nextA = a.template fetch<S::kTileRows>(thread, next, rows, depth);
    nextB = b.template fetch<S::kTileColumns>(thread, next, columns, depth);
#pragma unroll
    for (int k = 0; k < kDepth; ++k) multiply<S::kRows>(sums, &tileA[team][k][row], load4(&tileB[team][k][column]), sumRows);
    __syncthreads();
  }
  if constexpr (S::kTeams > 1) {
    static_assert(S::kRows == 1 && S::kTileRows <= kDepth, "the teams' sums take the place of their tiles");
    store4(&tileB[team][row][column], sums.of[0]);
    if (column == 0) tileA[team][0][row] = sums.rowSum[0];
    __syncthreads();
    if (team > 0) return;
    for (int t = 1; t < S::kTeams; ++t) {
      sums.of[0] = each4([](float s, float more) { return s + more; }, sums.of[0], load4(&tileB[t][row][column]));
      sums.rowSum[0] += tileA[t][0][row];
    }
  }
}

/// A product whose columns are those of a batch.
template <class Weights, class Epilogue>
struct BatchProduct {
  Weights weights;     // A
  Activations x, y;    // B and C
  Epilogue epilogue;
  const Failure* failure;
  int32_t rowBlocks, columnBlocks;  // columnBlocks: over one panel
};

template <class S, class Weights, class Epilogue>
__global__ void __launch_bounds__(S::kThreads) multiplyBatch(BatchProduct<Weights, Epilogue> product) {
  const Activations &x = product.x, &y = product.y;
  const int32_t block = static_cast<int32_t>(blockIdx.x);
  const int32_t firstRow = block % product.rowBlocks * S::kTileRows, columnBlock = block / product.rowBlocks;
  const int32_t p = columnBlock / product.columnBlocks, first = columnBlock % product.columnBlocks * S::kTileColumns;
  const int32_t live = liveColumns(y.columns, y.capacity, y.panel, p) - first;
  if (live <= 0 || failed(product.failure)) return;
  const AlongResult batch{x.data + int64_t{p} * x.features * x.panel + first, x.panel, true};
  Sums<S::kRows> sums;
  tileSums<S>(product.weights.from(firstRow), batch, y.features - firstRow, live, x.features, false, sums);
  const int thread = static_cast<int>(threadIdx.x);
  const int32_t row = firstRow + thread / S::kColumnThreads * S::kRows, column = thread % S::kColumnThreads * 4;
  if (thread >= S::kTeam || column >= live) return;
#pragma unroll
  for (int r = 0; r < S::kRows; ++r) {
    if (row + r >= y.features) return;
    product.epilogue.store(y.data, (int64_t{p} * y.features + row + r) * y.panel + first + column, row + r, sums.of[r]);
  }
}

template <class S>
__global__ void __launch_bounds__(S::kThreads) multiplyGradient(LinearGradient op, int32_t rowBlocks, const Failure* failure) {
  if (failed(failure)) return;
  const Activations &dy = op.outputGradient, &x = op.input;
  const int32_t block = static_cast<int32_t>(blockIdx.x);
  const int32_t firstRow = block % rowBlocks * S::kTileRows, firstColumn = block / rowBlocks * S::kTileColumns;
  const int32_t columns = x.columns ? *x.columns : x.capacity, depth = (columns + 15) / 16 * 16;
  const bool withBias = op.biasGradient && firstColumn == 0;
  const AlongSum a{dy.data, dy.panel, int64_t{dy.features} * dy.panel, dy.panel, true};
  const AlongSum b{x.data, x.panel, int64_t{x.features} * x.panel, x.panel, true};
  Sums<S::kRows> sums;
  tileSums<S>(a.from(firstRow), b.from(firstColumn), dy.features - firstRow, x.features - firstColumn, depth, withBias, sums);
  const int thread = static_cast<int>(threadIdx.x);
  if (thread >= S::kTeam) return;
  const int32_t row = firstRow + thread / S::kColumnThreads * S::kRows, column = firstColumn + thread % S::kColumnThreads * 4;
#pragma unroll
  for (int r = 0; r < S::kRows; ++r) {
    if (row + r >= dy.features) return;
    const auto emit = [&](int32_t c, float g) {
      if (c >= x.features) return;
      float* to = op.gradient + int64_t{row + r} * x.features + c;
      *to = op.accumulate ? *to + g : g;
    };
    emit(column, sums.of[r].x);
    emit(column + 1, sums.of[r].y);
    emit(column + 2, sums.of[r].z);
    emit(column + 3, sums.of[r].w);
    if (withBias && column == 0) op.biasGradient[row + r] = op.accumulateBias ? op.biasGradient[row + r] + sums.rowSum[r] : sums.rowSum[r];
  }
}

int32_t blocksOf(int32_t count, int32_t tile) { return (count - 1) / tile + 1; }

template <class S, class Weights, class Epilogue>
Status multiplyWith(Cuda& cuda, const char* operation, BatchProduct<Weights, Epilogue> product) {
  product.rowBlocks = blocksOf(product.y.features, S::kTileRows);
  product.columnBlocks = blocksOf(product.y.panel, S::kTileColumns);
  const int64_t blocks = int64_t{product.rowBlocks} * product.columnBlocks * product.y.panels();
  return launch(cuda, operation, multiplyBatch<S, Weights, Epilogue>, blocks, dim3(S::kThreads), 0, product);
}

template <class Weights, class Epilogue>
Status multiply(Cuda& cuda, const char* operation, const Weights& weights, const Activations& x, const Activations& y, const Epilogue& epilogue) {
  const BatchProduct<Weights, Epilogue> product{weights, x, y, epilogue, cuda.failure(), 0, 0};
  return y.features <= kNarrowRows ? multiplyWith<Narrow>(cuda, operation, product) : multiplyWith<Wide>(cuda, operation, product);
}

template <class S>
Status gradientWith(Cuda& cuda, const LinearGradient& op) {
  const int32_t rowBlocks = blocksOf(op.outputGradient.features, S::kTileRows);
  const int64_t blocks = int64_t{rowBlocks} * blocksOf(op.input.features, S::kTileColumns);
  return launch(cuda, "linearGradient", multiplyGradient<S>, blocks, dim3(S::kThreads), 0, op, rowBlocks, cuda.failure());
}

}  // namespace

Status linear(Backend& backend, const Linear& op) {
  const int32_t n = op.input.features;
  const AlongSum weights{op.weights, n, 0, INT32_MAX, n % 4 == 0};
  return multiply(cudaOf(backend), "linear", weights, op.input, op.output, ForwardEpilogue{op.bias, op.activation == Activation::relu});
}

Status linearTransposed(Backend& backend, const LinearTransposed& op) {
  const int32_t n = op.inputGradient.features;
  const AlongResult weights{op.weights, n, n % 4 == 0};
  return multiply(cudaOf(backend), "linearTransposed", weights, op.outputGradient, op.inputGradient,
                  BackwardEpilogue{op.activation == Activation::relu ? op.input.data : nullptr, op.accumulate});
}

Status linearGradient(Backend& backend, const LinearGradient& op) {
  Cuda& cuda = cudaOf(backend);
  return op.outputGradient.features <= kNarrowRows ? gradientWith<Narrow>(cuda, op) : gradientWith<Wide>(cuda, op);
}

}  // namespace hebb::cuda
