// A dense layer: three products C = A B of the same kernels, which differ in how A and B lie in memory and in what is
// done with a sum.
//                     C             A                 B              summed over
//   linear            Y  [M][B]     W     [M][N]      X   [N][B]     N
//   linearTransposed  dX [N][B]     W^T   [N][M]      dY  [M][B]     M
//   linearGradient    dW [M][N]     dY    [M][B]      X^T [B][N]     B, and the sums of A's rows for the bias
//
// A block computes a tile of C and brings some places of the sum at a time into shared memory, both operands. Which
// variant is taken follows from M and N alone (tileOf), and no sum depends on how many columns are valid, so a column's
// result does not depend on the batch. Within a variant the order of all sums is fixed.
//   split   64 x 64, 4 warps of 32 x 32, on tensor cores: M and N of 64 and more. Operands of 24 bits are split into
//           two tf32 numbers of 11, x = high + low, and three products of tf32 make one: low high + high low + high
//           high, summed in fp32. A tensor core cuts off where fp32 rounds, so it sums 16 places at most and fp32
//           additions sum these: the error is within (places / 16 + 72) * 2^-24 * sum |a b|, of which 12 come from
//           splitting and 60 are what cutting off could do at worst, and is tested to be within the bounds of the other
//           variants. 32 places at a time, by cp.async into one half of shared memory while the other half is
//           multiplied.
//   wide    64 x 64, 256 threads of 4 x 4, in fp32 FFMA, 16 places at a time: the sum runs over all places in their
//           order, which for linear and linearTransposed is the CPU's: the same bits as the levels that fuse multiply
//           and add.
//   narrow  16 x 16, 8 teams of 64 threads of 1 x 4, each with every eighth 16 places, added in the order of the teams:
//           for a C of at most 32 rows, such as a network's last layer, which has too few tiles to fill a GPU and long
//           sums.
// Where the order is not the CPU's, FFMA is within (places + 2) * 2^-24 * sum |a b| of it. Numbers above 2^127 (2 -
// 2^-11) are infinite to a tensor core.
//
// Shared memory of `split`: rows of places are 36 apart and rows of C's neighbours 72, so the lanes of a fragment (g =
// lane / 4, t = lane % 4) meet the banks 4 g + t and 8 t + g, each lane its own. Of 32 x 32 sums and 8 places, a warp
// loads 16 words a lane, splits them by 48 instructions and issues 24 mma.
//
// Roofline: 2 M N B flop; M N / 64 B + M B / 64 N operands from L2. wide: 0.5 byte of shared memory a flop, bound by
// FFMA (64 a cycle and multiprocessor on an A100, 128 on an H100) where all tiles together fill the GPU, by latency
// where they do not. split: a third of the tensor cores' tf32 rate, 512 a cycle on an A100 and about 600 of mma.sync's
// on an H100: 2.7 and 1.6 times FFMA at best.
#include "hebb/linear.h"

#include "cublas.h"
#include "epilogue.cuh"

namespace hebb::cuda {
namespace {

constexpr int kDepth = 16;       // places of the sum in shared memory at a time: no more than the padding of a batch
constexpr int kNarrowRows = 32;  // C with at most as many rows takes the narrow variant
constexpr int kSplitSize = 64;   // of M and N, for tensor cores

enum class Tile { narrow, wide, split };

/// The variant for a product with a C of so many rows in a layer of M x N weights. What a caller asks for goes before;
/// a tile of tensor cores is larger than a layer of fewer rows or columns than it has.
Tile tileOf(DenseProduct asked, int32_t rowsOfC, int32_t m, int32_t n) {
  const bool split =
      asked == DenseProduct::automatic ? m >= kSplitSize && n >= kSplitSize : asked == DenseProduct::tensorCores;
  return split ? Tile::split : rowsOfC <= kNarrowRows ? Tile::narrow : Tile::wide;
}

/// The tile of `split`: what it holds of each operand at a time, and its warps.
struct Split {
  static constexpr int kTile = 64, kDepth = 32, kThreads = 128;
  static constexpr int kWarpTile = 32, kRowTiles = 2, kColumnTiles = 4;  // of 16 rows and of 8 columns in a warp's tile
  static constexpr int kAlongSum = kDepth + 4, kAlongResult = kTile + 8;  // words from a row of the operand to the next
  static constexpr int kWords = kTile * kAlongSum;
  static_assert(kDepth * kAlongResult <= kWords);
};

/// The shape of a block: RowThreads x ColumnThreads threads of Rows x 4 numbers, and Teams of them that share the sum.
template <int Rows, int RowThreads, int ColumnThreads, int Teams>
struct Shape {
  static constexpr int kRows = Rows, kColumnThreads = ColumnThreads, kTeams = Teams;
  static constexpr int kTeam = RowThreads * ColumnThreads, kThreads = kTeam * Teams;
  static constexpr int kTileRows = Rows * RowThreads, kTileColumns = 4 * ColumnThreads;
  static_assert(kTileRows * kDepth == 4 * kTeam && kTileColumns * kDepth == 4 * kTeam,
                "a thread fetches four numbers of each operand");
};
using Wide = Shape<4, 16, 16, 1>;
using Narrow = Shape<1, 16, 4, 8>;

/// An operand whose neighbours in memory are places of the sum: element (i, k) is at i * stride + k, in panels of the
/// batch where k is a column.
struct AlongSum {
  const float* data;
  int64_t stride, panelStride;
  int32_t panel;  // places to a panel, a multiple of kDepth
  bool vector;    // four neighbours are one access

  __device__ __forceinline__ AlongSum from(int64_t i) const {
    return {data + i * stride, stride, panelStride, panel, vector};
  }

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

  /// Neighbours of a warp are neighbours in the tile, so that transposing costs no conflict between banks.
  template <int Tile>
  __device__ __forceinline__ static void place(float (*tile)[Tile], int thread, float4 v) {
    const int i = thread % Tile, k = thread / Tile * 4;
    tile[k][i] = v.x;
    tile[k + 1][i] = v.y;
    tile[k + 2][i] = v.z;
    tile[k + 3][i] = v.w;
  }

  /// Begins to copy Split::kDepth places as they lie; what is not there becomes zeros.
  __device__ __forceinline__ void copy(float* tile, int thread, int32_t place, int32_t count, int32_t depth) const {
    const auto begin = [&](int i, int k, auto words) {
      constexpr int kWords = decltype(words)::value;
      const int32_t at = place + k, left = i < count ? depth - at : 0,
                    valid = left < 0        ? 0
                            : left < kWords ? left
                                            : kWords;
      const float* from = valid ? data + at / panel * panelStride + at % panel + i * stride : data;
      copyAsyncOrZero<4 * kWords>(tile + i * Split::kAlongSum + k, from, 4 * valid);
    };
    constexpr int kPieces = Split::kDepth / 4;
    if (vector) {
      for (int p = thread; p < Split::kTile * kPieces; p += Split::kThreads)
        begin(p / kPieces, p % kPieces * 4, std::integral_constant<int, 4>());
    } else {
      for (int p = thread; p < Split::kTile * Split::kDepth; p += Split::kThreads)
        begin(p / Split::kDepth, p % Split::kDepth, std::integral_constant<int, 1>());
    }
  }
  __device__ __forceinline__ static float at(const float* tile, int i, int k) { return tile[i * Split::kAlongSum + k]; }
  __device__ __forceinline__ static float4 at4(const float* tile, int i, int k) {
    return load4(tile + i * Split::kAlongSum + k);
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

  /// Begins to copy Split::kDepth places as they lie; what is not there becomes zeros.
  __device__ __forceinline__ void copy(float* tile, int thread, int32_t place, int32_t count, int32_t depth) const {
    const auto begin = [&](int i, int k, auto words) {
      constexpr int kWords = decltype(words)::value;
      const int32_t left = place + k < depth ? count - i : 0, valid = left < 0 ? 0 : left < kWords ? left : kWords;
      const float* from = valid ? data + (place + k) * stride + i : data;
      copyAsyncOrZero<4 * kWords>(tile + k * Split::kAlongResult + i, from, 4 * valid);
    };
    constexpr int kPieces = Split::kTile / 4;
    if (vector) {
      for (int p = thread; p < Split::kDepth * kPieces; p += Split::kThreads)
        begin(p % kPieces * 4, p / kPieces, std::integral_constant<int, 4>());
    } else {
      for (int p = thread; p < Split::kDepth * Split::kTile; p += Split::kThreads)
        begin(p % Split::kTile, p / Split::kTile, std::integral_constant<int, 1>());
    }
  }
  __device__ __forceinline__ static float at(const float* tile, int i, int k) {
    return tile[k * Split::kAlongResult + i];
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

/// Sums of one tile of C, from the operands that begin with it: `rows` and `columns` of it are there, and `depth`
/// places of the sum. The first team has the result. Called by the whole block.
template <class S, class A, class B>
__device__ __forceinline__ void tileSums(const A& a, const B& b, int32_t rows, int32_t columns, int32_t depth,
                                         bool sumRows, Sums<S::kRows>& sums) {
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
    for (int k = 0; k < kDepth; ++k)
      multiply<S::kRows>(sums, &tileA[team][k][row], load4(&tileB[team][k][column]), sumRows);
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

// ---- tensor cores

/// The sums of a lane: of 16 rows and 8 columns each, as multiplyTf32 has them.
struct SplitSums {
  float4 of[Split::kRowTiles][Split::kColumnTiles];
};

/// Two tf32 numbers whose sum is x but for 2^-22 of it.
__device__ __forceinline__ void split(float x, uint32_t& high, uint32_t& low) {
  high = tf32Of(x);
  low = tf32Of(x - __uint_as_float(high));
}

/// The tile of C from the operands that begin with it: `rows` and `columns` of it are there, and `depth` places of the
/// sum. rowSum: of row threadIdx.x of A, if it is asked for; in fp32, place after place. Called by the whole block.
template <bool WithRowSums, class A, class B>
__device__ __forceinline__ void splitSums(const A& a, const B& b, int32_t rows, int32_t columns, int32_t depth,
                                          bool sumRows, SplitSums& sums, float& rowSum) {
  HEBB_SHARED(float, tilesA, [2][Split::kWords]);
  HEBB_SHARED(float, tilesB, [2][Split::kWords]);
  constexpr int kRows = Split::kRowTiles, kColumns = Split::kColumnTiles;
  const int thread = static_cast<int>(threadIdx.x), lane = thread % kWarp, g = lane / 4, t = lane % 4;
  const int row = thread / kWarp / 2 * Split::kWarpTile + g, column = thread / kWarp % 2 * Split::kWarpTile + g;
#pragma unroll
  for (int m = 0; m < kRows; ++m) {
#pragma unroll
    for (int n = 0; n < kColumns; ++n) sums.of[m][n] = make_float4(0.f, 0.f, 0.f, 0.f);
  }
  rowSum = 0.f;
  a.copy(tilesA[0], thread, 0, rows, depth);
  b.copy(tilesB[0], thread, 0, columns, depth);
  commitCopies();
  int half = 0;
  for (int32_t place = 0; place < depth; place += Split::kDepth, half ^= 1) {
    const float *const tileA = tilesA[half], *const tileB = tilesB[half];
    waitForCopies<0>();
    __syncthreads();  // all copies are there, and nobody reads the other half any more
    if (place + Split::kDepth < depth) {
      a.copy(tilesA[half ^ 1], thread, place + Split::kDepth, rows, depth);
      b.copy(tilesB[half ^ 1], thread, place + Split::kDepth, columns, depth);
      commitCopies();
    }
    if constexpr (WithRowSums) {
      if (sumRows && thread < Split::kTile) {
#pragma unroll
        for (int k = 0; k < Split::kDepth; k += 4) {
          const float4 v = A::at4(tileA, thread, k);
          rowSum = rowSum + v.x + v.y + v.z + v.w;
        }
      }
    }
#pragma unroll 1  // more at once would be more registers than there are
    for (int part = 0; part < Split::kDepth; part += 16) {
      SplitSums cut;
#pragma unroll
      for (int k = part; k < part + 16; k += 8) {
        uint4 highA[kRows], lowA[kRows];
        uint2 highB[kColumns], lowB[kColumns];
#pragma unroll
        for (int m = 0; m < kRows; ++m) {
          split(A::at(tileA, row + 16 * m, k + t), highA[m].x, lowA[m].x);
          split(A::at(tileA, row + 16 * m + 8, k + t), highA[m].y, lowA[m].y);
          split(A::at(tileA, row + 16 * m, k + t + 4), highA[m].z, lowA[m].z);
          split(A::at(tileA, row + 16 * m + 8, k + t + 4), highA[m].w, lowA[m].w);
        }
#pragma unroll
        for (int n = 0; n < kColumns; ++n) {
          split(B::at(tileB, column + 8 * n, k + t), highB[n].x, lowB[n].x);
          split(B::at(tileB, column + 8 * n, k + t + 4), highB[n].y, lowB[n].y);
        }
        // Eight products that do not depend on each other, three times.
#pragma unroll
        for (int which = 0; which < 3; ++which) {
#pragma unroll
          for (int m = 0; m < kRows; ++m) {
#pragma unroll
            for (int n = 0; n < kColumns; ++n) {
              if (k == part && which == 0) cut.of[m][n] = make_float4(0.f, 0.f, 0.f, 0.f);
              multiplyTf32(cut.of[m][n], which == 0 ? lowA[m] : highA[m], which == 1 ? lowB[n] : highB[n]);
            }
          }
        }
      }
#pragma unroll
      for (int m = 0; m < kRows; ++m) {
#pragma unroll
        for (int n = 0; n < kColumns; ++n) {
          sums.of[m][n] = each4([](float sum, float more) { return sum + more; }, sums.of[m][n], cut.of[m][n]);
        }
      }
    }
  }
}

/// Calls store(row, column, four sums of neighbouring columns) for what the lane holds of the tile, after pairs of
/// lanes have exchanged two columns.
template <class Store>
__device__ __forceinline__ void eachOfSplit(const SplitSums& sums, const Store& store) {
  const int thread = static_cast<int>(threadIdx.x), lane = thread % kWarp, t = lane % 4;
  const bool odd = t % 2;
  const int row = thread / kWarp / 2 * Split::kWarpTile + lane / 4 + (odd ? 8 : 0),
            column = thread / kWarp % 2 * Split::kWarpTile + t / 2 * 4;
#pragma unroll
  for (int m = 0; m < Split::kRowTiles; ++m) {
#pragma unroll
    for (int n = 0; n < Split::kColumnTiles; ++n) {
      const float4 v = sums.of[m][n];
      const float x = __shfl_xor_sync(kWholeWarp, odd ? v.x : v.z, 1),
                  y = __shfl_xor_sync(kWholeWarp, odd ? v.y : v.w, 1);
      store(row + 16 * m, column + 8 * n, odd ? make_float4(x, y, v.z, v.w) : make_float4(v.x, v.y, x, y));
    }
  }
}

// ---- the kernels

/// A product whose columns are those of a batch.
template <class Weights, class Epilogue>
struct BatchProduct {
  Weights weights;   // A
  Activations x, y;  // B and C
  Epilogue epilogue;
  const Failure* failure;
  int32_t rowBlocks, columnBlocks;  // columnBlocks: over one panel
};

/// The tile of C that a block computes.
struct Place {
  int32_t firstRow, panel, firstColumn, live;  // live: columns of the panel from firstColumn on that are to be computed
};
template <class Product>
__device__ __forceinline__ Place placeOf(const Product& product, int tileRows, int tileColumns) {
  const int32_t block = static_cast<int32_t>(blockIdx.x), columnBlock = block / product.rowBlocks;
  const int32_t panel = columnBlock / product.columnBlocks, first = columnBlock % product.columnBlocks * tileColumns;
  const Activations& y = product.y;
  return {block % product.rowBlocks * tileRows, panel, first, liveColumns(y.axis, y.capacity, y.panel, panel) - first};
}

template <class S, class Weights, class Epilogue>
__global__ void __launch_bounds__(S::kThreads) multiplyBatch(BatchProduct<Weights, Epilogue> product) {
  const Activations &x = product.x, &y = product.y;
  const auto [firstRow, p, first, live] = placeOf(product, S::kTileRows, S::kTileColumns);
  if (live <= 0 || failed(product.failure)) return;
  const AlongResult batch{x.data + p * x.panelStride() + first, x.panel, true};
  Sums<S::kRows> sums;
  tileSums<S>(product.weights.from(firstRow), batch, y.features - firstRow, live, x.features, false, sums);
  const int thread = static_cast<int>(threadIdx.x);
  const int32_t row = firstRow + thread / S::kColumnThreads * S::kRows, column = thread % S::kColumnThreads * 4;
  if (thread >= S::kTeam || column >= live) return;
  const Epilogue epilogue = product.epilogue.inPanel(p);
  const int64_t start = p * y.panelStride() + first + column;
#pragma unroll
  for (int r = 0; r < S::kRows; ++r) {
    if (row + r >= y.features) return;
    epilogue.store(y.data, start + int64_t{row + r} * y.panel, row + r, sums.of[r]);
  }
}

template <class Weights, class Epilogue>
__global__ void __launch_bounds__(Split::kThreads, 3) multiplyBatchSplit(BatchProduct<Weights, Epilogue> product) {
  const Activations &x = product.x, &y = product.y;
  const Place place = placeOf(product, Split::kTile, Split::kTile);
  if (place.live <= 0 || failed(product.failure)) return;
  const AlongResult batch{x.data + place.panel * x.panelStride() + place.firstColumn, x.panel, true};
  SplitSums sums;
  float none;
  splitSums<false>(product.weights.from(place.firstRow), batch, y.features - place.firstRow, place.live, x.features,
                   false, sums, none);
  const Epilogue epilogue = product.epilogue.inPanel(place.panel);
  const int64_t start = place.panel * y.panelStride() + place.firstColumn;
  eachOfSplit(sums, [&](int32_t r, int32_t c, float4 sum) {
    const int32_t row = place.firstRow + r;
    if (row >= y.features || c >= place.live) return;
    epilogue.store(y.data, start + int64_t{row} * y.panel + c, row, sum);
  });
}

/// The operands of a gradient, and what becomes of it.
struct GradientProduct {
  LinearGradient op;
  int32_t rowBlocks;
  const Failure* failure;

  __device__ __forceinline__ static AlongSum operand(const Activations& x) {
    return {x.data, x.panel, x.panelStride(), x.panel, true};
  }
  /// Columns of the batch to sum over. Those behind the valid ones hold a gradient of zero.
  __device__ __forceinline__ int32_t depth() const { return (op.input.columns() + 15) / 16 * 16; }
  __device__ __forceinline__ void store(int32_t row, int32_t column, float4 sum) const {
    const auto emit = [&](int32_t c, float g) {
      if (c >= op.input.features) return;
      float* to = op.gradient + int64_t{row} * op.input.features + c;
      *to = op.accumulate ? *to + g : g;
    };
    emit(column, sum.x);
    emit(column + 1, sum.y);
    emit(column + 2, sum.z);
    emit(column + 3, sum.w);
  }
  __device__ __forceinline__ void storeBias(int32_t row, float sum) const {
    op.biasGradient[row] = op.accumulateBias ? op.biasGradient[row] + sum : sum;
  }
};

template <class S>
__global__ void __launch_bounds__(S::kThreads) multiplyGradient(GradientProduct product) {
  if (failed(product.failure)) return;
  const Activations &dy = product.op.outputGradient, &x = product.op.input;
  const int32_t block = static_cast<int32_t>(blockIdx.x);
  const int32_t firstRow = block % product.rowBlocks * S::kTileRows,
                firstColumn = block / product.rowBlocks * S::kTileColumns;
  const bool withBias = product.op.biasGradient && firstColumn == 0;
  Sums<S::kRows> sums;
  tileSums<S>(product.operand(dy).from(firstRow), product.operand(x).from(firstColumn), dy.features - firstRow,
              x.features - firstColumn, product.depth(), withBias, sums);
  const int thread = static_cast<int>(threadIdx.x);
  if (thread >= S::kTeam) return;
  const int32_t row = firstRow + thread / S::kColumnThreads * S::kRows,
                column = firstColumn + thread % S::kColumnThreads * 4;
#pragma unroll
  for (int r = 0; r < S::kRows; ++r) {
    if (row + r >= dy.features) return;
    product.store(row + r, column, sums.of[r]);
    if (withBias && column == 0) product.storeBias(row + r, sums.rowSum[r]);
  }
}

__global__ void __launch_bounds__(Split::kThreads, 3) multiplyGradientSplit(GradientProduct product) {
  if (failed(product.failure)) return;
  const Activations &dy = product.op.outputGradient, &x = product.op.input;
  const int32_t block = static_cast<int32_t>(blockIdx.x);
  const int32_t firstRow = block % product.rowBlocks * Split::kTile,
                firstColumn = block / product.rowBlocks * Split::kTile;
  const bool withBias = product.op.biasGradient && firstColumn == 0;
  SplitSums sums;
  float rowSum;
  splitSums<true>(product.operand(dy).from(firstRow), product.operand(x).from(firstColumn), dy.features - firstRow,
                  x.features - firstColumn, product.depth(), withBias, sums, rowSum);
  eachOfSplit(sums, [&](int32_t r, int32_t c, float4 sum) {
    if (firstRow + r < dy.features) product.store(firstRow + r, firstColumn + c, sum);
  });
  const int32_t row = firstRow + static_cast<int32_t>(threadIdx.x);
  if (withBias && threadIdx.x < Split::kTile && row < dy.features) product.storeBias(row, rowSum);
}

/// Whether a product goes to cuBLAS: where the device was opened with it, those that would go to tensor cores, unless
/// the caller asks for a variant.
bool byCublas(const Cuda& cuda, DenseProduct asked, Tile tile) {
  return cuda.cublas() && asked == DenseProduct::automatic && tile == Tile::split;
}

int32_t blocksOf(int32_t count, int32_t tile) { return (count - 1) / tile + 1; }

template <class Weights, class Epilogue>
Status multiply(Cuda& cuda, const char* operation, Tile tile, const Weights& weights, const Activations& x,
                const Activations& y, const Epilogue& epilogue) {
  BatchProduct<Weights, Epilogue> product{weights, x, y, epilogue, cuda.failure(), 0, 0};
  const auto run = [&](auto kernel, int tileRows, int tileColumns, int threads) {
    product.rowBlocks = blocksOf(y.features, tileRows);
    product.columnBlocks = blocksOf(y.panel, tileColumns);
    return launch(cuda, operation, kernel, int64_t{product.rowBlocks} * product.columnBlocks * y.panels(),
                  dim3(static_cast<unsigned>(threads)), 0, product);
  };
  switch (tile) {
    case Tile::narrow:
      return run(multiplyBatch<Narrow, Weights, Epilogue>, Narrow::kTileRows, Narrow::kTileColumns, Narrow::kThreads);
    case Tile::wide:
      return run(multiplyBatch<Wide, Weights, Epilogue>, Wide::kTileRows, Wide::kTileColumns, Wide::kThreads);
    default: return run(multiplyBatchSplit<Weights, Epilogue>, Split::kTile, Split::kTile, Split::kThreads);
  }
}

}  // namespace

Status linear(Backend& backend, const Linear& op) {
  const int32_t m = op.output.features, n = op.input.features;
  Cuda& cuda = cudaOf(backend);
  const Tile tile = tileOf(op.product, m, m, n);
  if (byCublas(cuda, op.product, tile)) return linearByCublas(cuda, op);
  const AlongSum weights{op.weights, n, 0, INT32_MAX, n % 4 == 0};
  return multiply(cuda, "linear", tile, weights, op.input, op.output,
                  ForwardEpilogue{op.bias, op.activation == Activation::relu});
}

Status linearTransposed(Backend& backend, const LinearTransposed& op) {
  const int32_t m = op.outputGradient.features, n = op.inputGradient.features;
  Cuda& cuda = cudaOf(backend);
  const Tile tile = tileOf(op.product, n, m, n);
  if (byCublas(cuda, op.product, tile)) return linearTransposedByCublas(cuda, op);
  const AlongResult weights{op.weights, n, n % 4 == 0};
  return multiply(cuda, "linearTransposed", tile, weights, op.outputGradient, op.inputGradient, backwardEpilogue(op));
}

namespace {

Status gradientOf(Cuda& cuda, const LinearGradient& op) {
  const int32_t m = op.outputGradient.features, n = op.input.features;
  const Tile tile = tileOf(op.product, m, m, n);
  if (byCublas(cuda, op.product, tile)) return linearGradientByCublas(cuda, op);
  const auto run = [&](auto kernel, int tileRows, int tileColumns, int threads) {
    const int32_t rowBlocks = blocksOf(m, tileRows);
    return launch(cuda, "linearGradient", kernel, int64_t{rowBlocks} * blocksOf(n, tileColumns),
                  dim3(static_cast<unsigned>(threads)), 0, GradientProduct{op, rowBlocks, cuda.failure()});
  };
  switch (tile) {
    case Tile::narrow: return run(multiplyGradient<Narrow>, Narrow::kTileRows, Narrow::kTileColumns, Narrow::kThreads);
    case Tile::wide: return run(multiplyGradient<Wide>, Wide::kTileRows, Wide::kTileColumns, Wide::kThreads);
    default: return run(multiplyGradientSplit, Split::kTile, Split::kTile, Split::kThreads);
  }
}

}  // namespace

/// The optimizer's step is a pass of its own, by cuBLAS or not.
Status linearGradient(Backend& backend, const LinearGradient& op) {
  const int64_t rows = op.outputGradient.features;
  HEBB_RETURN_IF_ERROR(gradientOf(cudaOf(backend), op));
  if (op.fusedValues.values)
    HEBB_RETURN_IF_ERROR(
        sgd(backend, {.rule = op.fusedValues, .gradient = op.gradient, .capacity = rows * op.input.features}));
  return op.fusedBias.values ? sgd(backend, {.rule = op.fusedBias, .gradient = op.biasGradient, .capacity = rows})
                             : Status{};
}

}  // namespace hebb::cuda
