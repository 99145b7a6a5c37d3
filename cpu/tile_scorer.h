// Scores of all missing links of a layer (row_scorer.h says which) in tiles of 64 x 64, for layers whose links are many
// enough that nearly all scores are positive. With C(a, b) = c(common neighbours, degree of a) a tile is two
// sparse-times-dense products on vectors of 64 neurons:
//
//   tile(i, j) = sum over k in column j of C(k, i)  +  sum over l in row i of C(l, j)
//
// and so are the counts of common neighbours. k = i and l = j, which the definition leaves out, add to links that exist
// alone, whose scores are cleared; nodes without a common neighbour add zeros, which change no bits: the scores are
// those of row_scorer.h, bit for bit. What it costs does not depend on how degrees are spread:
//   links (rows + cols) 3/2 additions + (rows^2 + cols^2) / 2 divisions + rows cols keys
// in lanes of a vector. By paths a row of a tile is, for each l in row i, the product of R(l, j) = the square root of
// C(l, j) with a sum over all k in column l, of R(k, i) in the lanes where a bitmap says that k has a link:
//   rows cols degree^2 additions
// in lanes of a vector, whatever the lanes hold. The coefficients of the smaller side are kept, min(rows, cols)^2
// floats, which must fit into kDenseRouteBytes; those of the other side are made 64 neurons at a time.
#pragma once

#include "row_scorer.h"

namespace hebb::cpu::HEBB_LEVEL {

class TileScorer {
 public:
  static constexpr int32_t kTile = 64;

  TileScorer(Cpu& cpu, const Topology& topology, LinkPredictor predictor)
      : cpu_(cpu), t_(topology), withInternal_(isCh2(predictor)), byPaths_(isByPaths(predictor)),
        byRows_(topology.rows >= topology.cols), kept_(cpu), made_(cpu), flags_(cpu), tiles_(cpu), bits_(cpu) {}

  /// Whether it keeps within memory, and counts within their lanes.
  static bool fits(const Topology& t) {
    const int64_t smaller = std::min(t.rows, t.cols), larger = std::max(t.rows, t.cols);
    return tilesOf(smaller) * kTile * tilesOf(smaller) * kTile * 4 <= kDenseRouteBytes && larger <= UINT16_MAX;
  }

  Status prepare() {
    const int64_t smaller = std::min(t_.rows, t_.cols), larger = std::max(t_.rows, t_.cols), threads = cpu_.team.size();
    HEBB_RETURN_IF_ERROR(kept_.allocate(tilesOf(smaller) * tileSize(smaller)));
    HEBB_RETURN_IF_ERROR(made_.allocate(tileSize(larger) * threads));
    HEBB_RETURN_IF_ERROR(flags_.allocate(larger * kTile * threads));
    HEBB_RETURN_IF_ERROR(tiles_.allocate(2 * kTile * kTile * threads));
    cpu_.team.parallel(tilesOf(smaller), [&](int64_t tile, int rank) {
      if (!cpu_.stop) coefficients(!byRows_, tile, rank, kept_.data() + tile * tileSize(smaller));
    });
    if (!byPaths_) return {};
    const int64_t group = byRows_ ? kGroup : 1, groups = (tilesOf(t_.cols) + group - 1) / group;
    HEBB_RETURN_IF_ERROR(bits_.allocate(groups * group * t_.rows));
    const int64_t chunks = chunksFor(cpu_, t_.rowOffsets[t_.rows], 65536);
    cpu_.team.parallel(chunks, [&](int64_t chunk, int) {
      for (int32_t k = firstRow(t_.rowOffsets, t_.rows, chunk, chunks),
                   last = firstRow(t_.rowOffsets, t_.rows, chunk + 1, chunks);
           k < last; ++k) {
        for (int32_t a = t_.rowOffsets[k]; a < t_.rowOffsets[k + 1]; ++a) {
          const int32_t j = t_.columnIndices[a], tile = j / kTile;
          bits_[(tile / group * t_.rows + k) * group + tile % group] |= uint64_t{1} << j % kTile;
        }
      }
    });
    return {};
  }

  /// The parts that all tiles fall into: strips of 64 rows, or of 64 columns if these are more.
  int64_t strips() const { return tilesOf(std::max(t_.rows, t_.cols)); }

  /// Calls body(row, first column, scores, n) for a strip, in blocks of up to 64 columns, the columns of a row
  /// ascending; existing links read 0. The scores go on with zeros up to 64.
  template <class Body>
  void strip(int64_t strip, int rank, const Body& body) {
    const int64_t smaller = std::min(t_.rows, t_.cols), larger = std::max(t_.rows, t_.cols);
    float* made = made_.data() + tileSize(larger) * rank;
    coefficients(byRows_, strip, rank, made);
    if (byPaths_ && byRows_) {
      for (int64_t tile = 0; tile < tilesOf(smaller) && !cpu_.stop; tile += kGroup)
        scorePaths<kGroup>(strip, tile, made, kept_.data(), rank, body);
      return;
    }
    for (int64_t tile = 0; tile < tilesOf(smaller) && !cpu_.stop; ++tile) {
      const float* kept = kept_.data() + tile * tileSize(smaller);
      if (byPaths_) scorePaths<1>(tile, strip, kept, made - strip * tileSize(larger), rank, body);
      else if (byRows_) score(strip, tile, made, kept, rank, body);
      else score(tile, strip, kept, made, rank, body);
    }
  }

 private:
  static constexpr int NV = kTile / W;
  static constexpr int32_t kAhead = 10;

  /// Tiles that a row's paths are added to at once: as many as registers hold.
  static constexpr int kGroup = W == 16 ? 4 : 1;

  /// Coefficients of a tile's neurons with all of their side.
  static int64_t tileSize(int64_t neurons) { return tilesOf(neurons) * kTile * kTile; }
  static int64_t tilesOf(int64_t neurons) { return (neurons + kTile - 1) / kTile; }

  /// out[a][lane] = C(a, first neuron of the tile + lane) for all neurons a of a side: rows, or columns. By paths it is
  /// R; that of rows is out[lane][a], with rows padded to whole tiles.
  void coefficients(bool ofRows, int64_t tile, int rank, float* out) {
    const int32_t nodes = ofRows ? t_.rows : t_.cols;
    const int32_t* offsets = ofRows ? t_.rowOffsets : t_.columnOffsets;
    const int32_t* indices = ofRows ? t_.columnIndices : t_.rowIndices;
    const int32_t first = static_cast<int32_t>(tile * kTile), lanes = std::min(kTile, nodes - first);
    // Which neighbours the tile's neurons have: [neighbour][lane].
    float* block = tiles_.data() + 2 * kTile * kTile * rank;
    uint16_t* flags = flags_.data() + int64_t{std::max(t_.rows, t_.cols)} * kTile * rank;
    for (int32_t lane = 0; lane < lanes; ++lane) {
      for (int32_t a = offsets[first + lane]; a < offsets[first + lane + 1]; ++a)
        flags[int64_t{indices[a]} * kTile + lane] = 1;
    }
    const Vec one = splat(1.f), internal = splat(withInternal_ ? 1.f : 0.f);
    for (int32_t node = 0; node < nodes; ++node) {
      ShortVec common[NV / 2] = {};
      for (int32_t a = offsets[node]; a < offsets[node + 1]; ++a) {
        const uint16_t* row = flags + int64_t{indices[a]} * kTile;
        for (int v = 0; v < NV / 2; ++v) common[v] += loadShorts(row + v * 2 * W);
      }
      const Vec degree = splat(static_cast<float>(offsets[node + 1] - offsets[node]));
      const bool transposed = byPaths_ && ofRows;
      float* at = transposed ? block + node % kTile * kTile : out + int64_t{node} * kTile;
      for (int v = 0; v < NV / 2; ++v) {
        Vec half[2];
        toFloats(common[v], half[0], half[1]);
        for (int h = 0; h < 2; ++h) {
          const Vec s = half[h], external = degree - s;
          const Vec c = s > Vec{} ? (internal * s + one) / (external > one ? external : one) : Vec{};
          store(at + (2 * v + h) * W, byPaths_ ? squareRoot(c) : c);
        }
      }
      if (transposed && (node % kTile == kTile - 1 || node == nodes - 1))
        transpose(block, out + node / kTile * kTile, tilesOf(nodes) * kTile);
    }
    for (int32_t lane = 0; lane < lanes; ++lane) {
      for (int32_t a = offsets[first + lane]; a < offsets[first + lane + 1]; ++a)
        flags[int64_t{indices[a]} * kTile + lane] = 0;
    }
  }

  template <class Body>
  void score(int64_t rowTile, int64_t columnTile, const float* ofRows, const float* ofColumns, int rank,
             const Body& body) {
    float *transposed = tiles_.data() + 2 * kTile * kTile * rank, *scores = transposed + kTile * kTile;
    const int32_t firstRow = static_cast<int32_t>(rowTile * kTile), rows = std::min(kTile, t_.rows - firstRow);
    const int32_t firstColumn = static_cast<int32_t>(columnTile * kTile),
                  columns = std::min(kTile, t_.cols - firstColumn);
    for (int32_t lane = 0; lane < kTile; ++lane) {
      Vec sum[NV] = {};
      if (lane < columns)
        add(sum, t_.columnOffsets[firstColumn + lane], t_.columnOffsets[firstColumn + lane + 1],
            t_.columnOffsets[firstColumn + columns], t_.rowIndices, ofRows);
      for (int v = 0; v < NV; ++v) store(transposed + lane * kTile + v * W, sum[v]);
    }
    transpose(transposed, scores, kTile);
    for (int32_t lane = 0; lane < rows; ++lane) {
      const int32_t row = firstRow + lane, begin = t_.rowOffsets[row], end = t_.rowOffsets[row + 1];
      float* at = scores + lane * kTile;
      Vec sum[NV];
      for (int v = 0; v < NV; ++v) sum[v] = load(at + v * W);
      add(sum, begin, end, t_.rowOffsets[firstRow + rows], t_.columnIndices, ofColumns);
      for (int v = 0; v < NV; ++v) store(at + v * W, sum[v]);
      clearLinks(at, begin, end, firstColumn, columns);
      body(row, firstColumn, at, columns);
    }
  }

  /// Adds the coefficients of some neurons; meanwhile those of the neurons that come next, up to `last`, are fetched.
  static HEBB_INLINE void add(Vec (&sum)[NV], int32_t begin, int32_t end, int32_t last, const int32_t* indices,
                              const float* coefficients) {
    for (int32_t a = begin; a < end; ++a) {
      const float* ahead = coefficients + int64_t{indices[std::min(a + kAhead, last - 1)]} * kTile;
      for (int line = 0; line < kTile; line += 16) __builtin_prefetch(ahead + line);
      const float* from = coefficients + int64_t{indices[a]} * kTile;
      for (int v = 0; v < NV; ++v) sum[v] += load(from + v * W);
    }
  }

  /// Rows of a tile of rows and the columns of G tiles. `ofRows` is the row tile's, `ofColumns` that of all column
  /// tiles.
  template <int G, class Body>
  void scorePaths(int64_t rowTile, int64_t columnTile, const float* ofRows, const float* ofColumns, int rank,
                  const Body& body) {
    const int32_t firstRow = static_cast<int32_t>(rowTile * kTile), rows = std::min(kTile, t_.rows - firstRow);
    const uint64_t* bits = bits_.data() + columnTile * t_.rows;
    float* at = tiles_.data() + 2 * kTile * kTile * rank;
    const float* from[G];
    for (int g = 0; g < G; ++g)
      from[g] = ofColumns + std::min(columnTile + g, tilesOf(t_.cols) - 1) * tileSize(t_.cols);
    for (int32_t lane = 0; lane < rows; ++lane) {
      const float* factors = ofRows + lane * tilesOf(t_.rows) * kTile;
      const int32_t row = firstRow + lane, begin = t_.rowOffsets[row], end = t_.rowOffsets[row + 1];
      for (int v = 0; v < G * NV; ++v) store(at + v * W, Vec{});
      for (int32_t a = begin; a < end; ++a) {
        const int32_t l = t_.columnIndices[a];
        Vec sum[G * NV] = {};
        for (int32_t b = t_.columnOffsets[l]; b < t_.columnOffsets[l + 1]; ++b) {
          const int32_t k = t_.rowIndices[b];
          const Vec factor = splat(factors[k]);
          for (int g = 0; g < G; ++g) {
            const uint64_t word = bits[int64_t{k} * G + g];
            addWhere(static_cast<uint32_t>(word), factor, sum + g * NV);
            addWhere(static_cast<uint32_t>(word >> 32), factor, sum + g * NV + NV / 2);
          }
        }
        for (int g = 0; g < G; ++g) {
          const float* coefficients = from[g] + int64_t{l} * kTile;
          for (int v = 0; v < NV; ++v)
            store(at + (g * NV + v) * W, load(at + (g * NV + v) * W) + load(coefficients + v * W) * sum[g * NV + v]);
        }
      }
      for (int g = 0; g < G && (columnTile + g) * kTile < t_.cols; ++g) {
        const int32_t firstColumn = static_cast<int32_t>((columnTile + g) * kTile),
                      columns = std::min(kTile, t_.cols - firstColumn);
        clearLinks(at + g * kTile, begin, end, firstColumn, columns);
        body(row, firstColumn, at + g * kTile, columns);
      }
    }
  }

  /// Scores of a row's links are 0.
  void clearLinks(float* at, int32_t begin, int32_t end, int32_t firstColumn, int32_t columns) const {
    for (const int32_t* c = std::lower_bound(t_.columnIndices + begin, t_.columnIndices + end, firstColumn);
         c < t_.columnIndices + end && *c < firstColumn + columns; ++c) {
      at[*c - firstColumn] = 0;
    }
  }

  /// to = from transposed; `stride` is that of `to`.
  static void transpose(const float* from, float* to, int64_t stride) {
    for (int r = 0; r < kTile; r += 4) {
      for (int c = 0; c < kTile; c += 4) {
        const float* at = from + r * kTile + c;
        const Vec4 a = load4(at), b = load4(at + kTile), d = load4(at + 2 * kTile), e = load4(at + 3 * kTile);
        const Vec4 ab = HEBB_SHUFFLE(a, b, 0, 4, 1, 5), cd = HEBB_SHUFFLE(a, b, 2, 6, 3, 7);
        const Vec4 de = HEBB_SHUFFLE(d, e, 0, 4, 1, 5), ef = HEBB_SHUFFLE(d, e, 2, 6, 3, 7);
        float* out = to + c * stride + r;
        store4(out, HEBB_SHUFFLE(ab, de, 0, 1, 4, 5));
        store4(out + stride, HEBB_SHUFFLE(ab, de, 2, 3, 6, 7));
        store4(out + 2 * stride, HEBB_SHUFFLE(cd, ef, 0, 1, 4, 5));
        store4(out + 3 * stride, HEBB_SHUFFLE(cd, ef, 2, 3, 6, 7));
      }
    }
  }

  Cpu& cpu_;
  const Topology t_;
  const bool withInternal_, byPaths_, byRows_;  // byRows_: strips are of rows, and the columns' coefficients are kept
  Scratch<float> kept_;                         // [tiles][min(rows, cols)][64]
  Scratch<float> made_;                         // [threads][max(rows, cols)][64]
  Scratch<uint16_t> flags_;                     // [threads][max(rows, cols)][64], zero between uses
  Scratch<float> tiles_;                        // [threads][2][64][64]
  Scratch<uint64_t> bits_;                      // by paths, bits of the links: [groups of column tiles][rows][group]
};

/// Which route an operation takes: the one that it asks for, or the one that is expected to be faster.
inline Status chooseRoute(const Topology& links, LinkPredictor predictor, PredictionRoute route, bool* dense) {
  if (route == PredictionRoute::dense && !TileScorer::fits(links)) {
    return {Code::unsupported, "Expected a layer whose pairs of neurons fit into " +
                                   std::to_string(kDenseRouteBytes >> 20) + " MiB for the dense route, got " +
                                   std::to_string(links.rows) + " x " + std::to_string(links.cols) +
                                   ": take 'sparse' or 'auto'"};
  }
  *dense = route == PredictionRoute::dense;
  if (route == PredictionRoute::automatic && TileScorer::fits(links)) {
    const RouteSeconds expected = expectedSeconds(links, predictor, W);
    *dense = expected.dense < expected.sparse;
  }
  return {};
}

}  // namespace hebb::cpu::HEBB_LEVEL
