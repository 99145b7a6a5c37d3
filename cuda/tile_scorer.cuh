// Scores of all missing links of a layer, by CH2-L3n or CH3-L3n (hebb/link_prediction.h), in tiles of 64 x 64 on tensor
// cores: the dense route, for layers whose paths of length three are too many to walk one by one. With C(a, b) =
// c(common neighbours, degree of b) a tile is two products
//
//   tile(i, j) = sum over rows k of C(i, k) A(k, j)  +  sum over columns l of A(i, l) C(j, l)
//
// k = i and l = j, which the definition leaves out, add to links that exist alone, and these have no scores. A is a
// bitmap by rows and one by columns, whose bits become fp16 ones in registers. C is two fp16 numbers: its first 11
// bits, and 2^11 times what these leave, 23 bits together, as C lies in [2^-14, 2^14 + 1] where no side has more than
// 2^14 neurons. Each has a sum of its own in a tensor core, which cuts bits off: after 64 neurons both are added to a
// compensated sum in fp32. The relative error stays below 1e-6 (test/ops/link_prediction.test.ts), and the bits are the
// same in every run; they are not the sparse route's.
//
// The coefficients of the smaller side are kept, min(rows, cols)^2 x 4 bytes, which must fit into kDenseRouteBytes.
// Those of the other side are made in panels of at most kPanelBytes, the scores of a tile in registers: nothing is rows
// x cols but the bitmaps, 1 bit a cell each.
//
// What it costs, M x N: the pairs M^2 + N^2, each (N or M) / 32 population counts; and 4 M N (M + N) additions and
// multiplications on tensor cores, whatever the density. Roofline: tensor cores in fp16; coefficients from L2, M N (M +
// N) / 16 bytes.
#pragma once

#include "ranks.cuh"
#include "row_scorer.cuh"
#include "search.cuh"

namespace hebb::cuda {

namespace tile_scoring {

inline constexpr int kTile = 64;  // rows and columns of a tile, and neurons of a step
// Halves of a row in shared memory: the eight rows of a fragment lie in different banks.
inline constexpr int kStride = kTile + 8;
inline constexpr int kPlane = kTile * kStride;  // halves of the first, or of the second number of 64 x 64 coefficients
inline constexpr size_t kSharedBytes = 2 * 2 * kPlane * sizeof(uint16_t);
inline constexpr int64_t kMostNeurons = 1 << 14;
#if defined(HEBB_EMULATION)
inline constexpr int64_t kPanelBytes = int64_t{1} << 20;  // layers that tests have time for come in several panels, too
#else
inline constexpr int64_t kPanelBytes = int64_t{64} << 20;
#endif
inline constexpr float kLow = 2048.f;  // by which the second number of a coefficient is scaled

__host__ __device__ constexpr int64_t padded(int64_t neurons) { return (neurons + kTile - 1) / kTile * kTile; }
constexpr int64_t bytesOfPairs(int64_t neurons, int64_t others) {
  return padded(neurons) * padded(others) * 2 * static_cast<int64_t>(sizeof(uint16_t));
}

/// The coefficients of some neurons with all of their side, by neuron: the places of neurons that there are none of
/// read 0.
struct Pairs {
  uint16_t *high, *low;  // [neurons of the panel][stride]
  int32_t stride;
};

/// A bitmap: the neighbours of the neurons of a side.
struct Bits {
  uint32_t* words;  // [padded neurons][stride]
  int32_t stride;
};

/// fp16 ones where the lowest two bits of `bits` are.
__device__ __forceinline__ uint32_t onesOf(uint32_t bits) { return ((bits & 1u) | (bits & 2u) << 15) * 0x3C00u; }

__device__ __forceinline__ uint32_t wordOf(const uint16_t* halves) {
  return *reinterpret_cast<const uint32_t*>(halves);
}

/// A compensated sum (Kahan 1965).
__device__ __forceinline__ void addExactly(float& sum, float& lost, float value) {
  const float corrected = value - lost, next = sum + corrected;
  lost = (next - sum) - corrected;
  sum = next;
}

}  // namespace tile_scoring

/// The tiles of a panel, as a kernel sees them.
struct TileScores {
  static constexpr int kResident = 2;
  static constexpr size_t kSharedBytes = tile_scoring::kSharedBytes;
  Topology links;
  bool byRows;           // the panel is of rows; else it is of columns
  int32_t first, tiles;  // the panel's first neuron, and its tiles
  tile_scoring::Bits rowBits, columnBits;
  tile_scoring::Pairs ofRows, ofColumns;

  /// Calls body(row, column, score) for every missing link of the panel with a score; each once, in no order, by any
  /// thread. Called by all blocks of scoring::kThreads; `shared` has kSharedBytes.
  template <class Body>
  __device__ __forceinline__ void each(unsigned char* shared, const Body& body) const {
    const int32_t across =
        static_cast<int32_t>(tile_scoring::padded(byRows ? links.cols : links.rows)) / tile_scoring::kTile;
    for (int64_t tile = static_cast<int64_t>(blockIdx.x); tile < static_cast<int64_t>(tiles) * across;
         tile += static_cast<int64_t>(gridDim.x)) {
      const int32_t own = static_cast<int32_t>(tile / across) * tile_scoring::kTile,
                    other = static_cast<int32_t>(tile % across) * tile_scoring::kTile;
      score(byRows ? first + own : other, byRows ? other : first + own, byRows ? own : other, byRows ? other : own,
            reinterpret_cast<uint16_t*>(shared), body);
    }
  }

 private:
  /// Begins to fetch the coefficients of the step's 64 neurons.
  __device__ __forceinline__ void stage(int32_t step, int32_t rowSteps, int32_t rowPlace, int32_t columnPlace,
                                        uint16_t* buffer) const {
    const bool isRows = step < rowSteps;
    const tile_scoring::Pairs& pairs = isRows ? ofRows : ofColumns;
    const int64_t from = static_cast<int64_t>(isRows ? rowPlace : columnPlace) * pairs.stride +
                         (isRows ? step : step - rowSteps) * tile_scoring::kTile;
    constexpr int kPieces = tile_scoring::kTile / 8;  // of 16 bytes, in a row
    for (int piece = static_cast<int>(threadIdx.x); piece < 2 * tile_scoring::kTile * kPieces;
         piece += scoring::kThreads) {
      const int plane = piece / (tile_scoring::kTile * kPieces), row = piece / kPieces % tile_scoring::kTile,
                at = piece % kPieces * 8;
      copyAsync16(buffer + plane * tile_scoring::kPlane + row * tile_scoring::kStride + at,
                  (plane ? pairs.low : pairs.high) + from + static_cast<int64_t>(row) * pairs.stride + at);
    }
    commitCopies();
  }

  /// Scores the tile at (row, column), whose neurons are at these places of their coefficients. Four warps have 32 x 32
  /// each.
  template <class Body>
  __device__ __forceinline__ void score(int32_t row, int32_t column, int32_t rowPlace, int32_t columnPlace,
                                        uint16_t* shared, const Body& body) const {
    using namespace tile_scoring;
    const int warp = static_cast<int>(threadIdx.x) / kWarp, lane = static_cast<int>(threadIdx.x) % kWarp, g = lane / 4,
              t = lane % 4;
    const int warpRow = warp / 2 * 32, warpColumn = warp % 2 * 32;
    const int32_t rowSteps = ofRows.stride / kTile, steps = rowSteps + ofColumns.stride / kTile;
    float sums[2][4][4] = {}, lost[2][4][4] = {};
    stage(0, rowSteps, rowPlace, columnPlace, shared);
    for (int32_t step = 0; step < steps; ++step) {
      const uint16_t* const high = shared + step % 2 * 2 * kPlane;
      const uint16_t* const low = high + kPlane;
      if (step + 1 < steps) {
        stage(step + 1, rowSteps, rowPlace, columnPlace, shared + (step + 1) % 2 * 2 * kPlane);
        waitForCopies<1>();
      } else {
        waitForCopies<0>();
      }
      __syncthreads();
      float4 highSums[2][4], lowSums[2][4];
#pragma unroll
      for (int m = 0; m < 2; ++m) {
#pragma unroll
        for (int n = 0; n < 4; ++n) highSums[m][n] = lowSums[m][n] = make_float4(0.f, 0.f, 0.f, 0.f);
      }
      if (step < rowSteps) {
        uint2 bits[4];
#pragma unroll
        for (int n = 0; n < 4; ++n) {
          const uint32_t* const words =
              columnBits.words + static_cast<int64_t>(column + warpColumn + n * 8 + g) * columnBits.stride + step * 2;
          bits[n] = make_uint2(words[0], words[1]);
        }
#pragma unroll
        for (int k = 0; k < 4; ++k) {
          uint4 highs[2], lows[2];
#pragma unroll
          for (int m = 0; m < 2; ++m) {
            const int at = (warpRow + m * 16 + g) * kStride + k * 16 + 2 * t;
            highs[m] = make_uint4(wordOf(high + at), wordOf(high + at + 8 * kStride), wordOf(high + at + 8),
                                  wordOf(high + at + 8 * kStride + 8));
            lows[m] = make_uint4(wordOf(low + at), wordOf(low + at + 8 * kStride), wordOf(low + at + 8),
                                 wordOf(low + at + 8 * kStride + 8));
          }
#pragma unroll
          for (int n = 0; n < 4; ++n) {
            const uint32_t word = (k < 2 ? bits[n].x : bits[n].y) >> (k % 2 * 16 + 2 * t);
            const uint2 ones = make_uint2(onesOf(word), onesOf(word >> 8));
#pragma unroll
            for (int m = 0; m < 2; ++m) {
              multiplyHalf(highSums[m][n], highs[m], ones);
              multiplyHalf(lowSums[m][n], lows[m], ones);
            }
          }
        }
      } else {
        uint2 bits[2][2];
#pragma unroll
        for (int m = 0; m < 2; ++m) {
#pragma unroll
          for (int half = 0; half < 2; ++half) {
            const uint32_t* const words = rowBits.words +
                                          static_cast<int64_t>(row + warpRow + m * 16 + half * 8 + g) * rowBits.stride +
                                          (step - rowSteps) * 2;
            bits[m][half] = make_uint2(words[0], words[1]);
          }
        }
#pragma unroll
        for (int k = 0; k < 4; ++k) {
          uint4 ones[2];
#pragma unroll
          for (int m = 0; m < 2; ++m) {
            const uint32_t upper = (k < 2 ? bits[m][0].x : bits[m][0].y) >> (k % 2 * 16 + 2 * t),
                           lower = (k < 2 ? bits[m][1].x : bits[m][1].y) >> (k % 2 * 16 + 2 * t);
            ones[m] = make_uint4(onesOf(upper), onesOf(lower), onesOf(upper >> 8), onesOf(lower >> 8));
          }
#pragma unroll
          for (int n = 0; n < 4; ++n) {
            const int at = (warpColumn + n * 8 + g) * kStride + k * 16 + 2 * t;
            const uint2 highs = make_uint2(wordOf(high + at), wordOf(high + at + 8)),
                        lows = make_uint2(wordOf(low + at), wordOf(low + at + 8));
#pragma unroll
            for (int m = 0; m < 2; ++m) {
              multiplyHalf(highSums[m][n], ones[m], highs);
              multiplyHalf(lowSums[m][n], ones[m], lows);
            }
          }
        }
      }
#pragma unroll
      for (int m = 0; m < 2; ++m) {
#pragma unroll
        for (int n = 0; n < 4; ++n) {
          const float4 a = highSums[m][n], b = lowSums[m][n];
          addExactly(sums[m][n][0], lost[m][n][0], a.x + b.x / kLow);
          addExactly(sums[m][n][1], lost[m][n][1], a.y + b.y / kLow);
          addExactly(sums[m][n][2], lost[m][n][2], a.z + b.z / kLow);
          addExactly(sums[m][n][3], lost[m][n][3], a.w + b.w / kLow);
        }
      }
      __syncthreads();
    }
#pragma unroll
    for (int m = 0; m < 2; ++m) {
#pragma unroll
      for (int n = 0; n < 4; ++n) {
#pragma unroll
        for (int e = 0; e < 4; ++e) {
          const int32_t i = row + warpRow + m * 16 + e / 2 * 8 + g, j = column + warpColumn + n * 8 + 2 * t + e % 2;
          const float value = sums[m][n][e];
          if (i >= links.rows || j >= links.cols || !(value > 0.f)) continue;
          if (!(rowBits.words[static_cast<int64_t>(i) * rowBits.stride + j / 32] >> j % 32 & 1u)) body(i, j, value);
        }
      }
    }
  }
};

/// Makes what the tiles of a layer are scored from, and has them scored, panel by panel.
class TileScorer {
 public:
  /// Whether the dense route has the predictor, and the layer fits.
  static Status check(int32_t rows, int32_t cols, LinkPredictor predictor);
  /// Whether an operation takes the dense route: it asks for it, or is expected to be faster by it. Fails where it asks
  /// for what there is not.
  static Status choose(const Cuda& cuda, const Csr& links, LinkPredictor predictor, PredictionRoute route, bool* dense);

  TileScorer(Cuda& cuda, const char* operation, const Topology& links, LinkPredictor predictor);

  /// `capacity`: links there may be.
  Status prepare(int64_t capacity);
  /// Calls run(scores, blocks) for each panel. `until` [1] device, or null: a search for which nothing is made any more
  /// once it is settled.
  template <class Run>
  Status eachPanel(const Threshold* until, const Run& run) {
    for (int32_t first = 0; first < larger_; first += panel_) {
      const int32_t neurons = larger_ - first < panel_ ? larger_ - first : panel_;
      if (panel_ < larger_) HEBB_RETURN_IF_ERROR(makePairs(byRows_, first, neurons, until, made_));
      const int32_t tiles = static_cast<int32_t>(tile_scoring::padded(neurons)) / tile_scoring::kTile,
                    across = static_cast<int32_t>(tile_scoring::padded(smaller_)) / tile_scoring::kTile;
      const TileScores scores{
          links_, byRows_, first, tiles, rowBits_, columnBits_, byRows_ ? made_ : kept_, byRows_ ? kept_ : made_};
      HEBB_RETURN_IF_ERROR(run(scores, static_cast<int64_t>(tiles) * across));
    }
    return {};
  }

 private:
  Status makePairs(bool ofRows, int32_t first, int32_t neurons, const Threshold* until,
                   const tile_scoring::Pairs& pairs);

  Cuda& cuda_;
  const char* operation_;
  const Topology links_;
  const bool withInternal_, byRows_;
  const int32_t smaller_, larger_;
  int32_t panel_;  // neurons of the larger side whose coefficients are there at once
  Scratch<uint32_t> rowWords_, columnWords_;
  Scratch<uint16_t> keptHalves_, madeHalves_;
  tile_scoring::Bits rowBits_{}, columnBits_{};
  tile_scoring::Pairs kept_{}, made_{};
};

}  // namespace hebb::cuda
