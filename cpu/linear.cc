// A dense layer, Y = W X, dX = W^T dY and dW = dY X^T, by outer products in registers: a tile of the result is some
// rows times two vectors, of the batch or, for the weights' gradient, of a row of weights. It is a network's last
// layer, and what sparse layers are compared with. Weights are read and written along their rows: W^T takes them in
// packed strips, and the gradient takes X transposed, so that whole vectors of a row come out and the optimizer's step
// can be taken on them at once. A tile's share of the batch is packed, too, where many rows read it: rows of a panel
// are a power of two apart, and fall into few sets of a cache. Bound by the multiply-adds, one a weight and column;
// with the step, by reading and writing weights and velocities.
#include "hebb/linear.h"

#include "cpu.h"
#include "level.h"
#include "outer_products.h"

namespace hebb::cpu::HEBB_LEVEL {
namespace {

/// A tile of a result whose sums are in registers, beside its row of the right factor and a number of the left one.
constexpr int kTileRows = W == 16 ? 12 : 6, kTileColumns = 2 * W;

/// The first row of part `part` of `parts` about equal ones, at a tile's begin.
int32_t firstRowOf(int32_t rows, int64_t part, int64_t parts) {
  const int32_t tiles = (rows + kTileRows - 1) / kTileRows;
  return std::min(rows, static_cast<int32_t>(tiles * part / parts) * kTileRows);
}

/// R rows of `depth` numbers become [depth][R]. Where there are fewer rows, the last one is repeated. Prefetches the
/// next R rows.
template <int R>
HEBB_INLINE void packRows(const float* in, int64_t stride, int32_t rows, int32_t depth, float* out) {
  for (int at = 0; at < R; at += 4) {
    const int first = std::min(at, R - 4);
    const float* row[4];
    for (int j = 0; j < 4; ++j) row[j] = in + std::min(first + j, rows - 1) * stride;
    int32_t k = 0;
    for (; k + 4 <= depth; k += 4) {
      if (k % 16 == 0) {
        for (int j = 0; j < 4; ++j) __builtin_prefetch(row[j] + R * stride + k);
      }
      const Vec4 a = load4(row[0] + k), b = load4(row[1] + k), c = load4(row[2] + k), d = load4(row[3] + k);
      const Vec4 ab = HEBB_SHUFFLE(a, b, 0, 4, 1, 5), cd = HEBB_SHUFFLE(c, d, 0, 4, 1, 5);
      const Vec4 ef = HEBB_SHUFFLE(a, b, 2, 6, 3, 7), gh = HEBB_SHUFFLE(c, d, 2, 6, 3, 7);
      store4(out + (k + 0) * R + first, HEBB_SHUFFLE(ab, cd, 0, 1, 4, 5));
      store4(out + (k + 1) * R + first, HEBB_SHUFFLE(ab, cd, 2, 3, 6, 7));
      store4(out + (k + 2) * R + first, HEBB_SHUFFLE(ef, gh, 0, 1, 4, 5));
      store4(out + (k + 3) * R + first, HEBB_SHUFFLE(ef, gh, 2, 3, 6, 7));
    }
    for (; k < depth; ++k) {
      for (int j = 0; j < 4; ++j) out[k * R + first + j] = row[j][k];
    }
  }
}

/// A product of matrices, L X, in blocks: up to kRows rows of L, kDepth of their columns, and kColumns columns of X. A
/// tile of X is packed and stays in the first cache while the rows go by, which lie in the second one. Between two
/// depths sums wait in memory, so that each is taken in the order of L's columns, however the work is divided.
template <class Product>
class Blocks {
  static constexpr int32_t kRows = 96, kDepth = 4096 / kTileColumns, kColumns = 512;

 public:
  Blocks(Cpu& cpu, const Product& product, const Activations& in, const Activations& out)
      : cpu_(cpu), product_(product), in_(in), rows_(out.features), blocks_((out.features + kRows - 1) / kRows),
        scratch_(cpu) {
    const int32_t panels = out.panels(), together = std::max(1, kColumns / out.panel);
    const int64_t work = int64_t{rows_} * in.features * (liveColumns(out, 0) / 16) * panels,
                  chunks = chunksFor(cpu, work, 6000);
    parts_ = std::min<int64_t>(blocks_, chunks);
    groups_ = std::clamp<int64_t>((chunks + blocks_ - 1) / blocks_, (panels + together - 1) / together, panels);
    const int32_t rows = std::min(kRows, (rows_ + kTileRows - 1) / kTileRows * kTileRows);
    left_ = Product::left(rows, std::min(kDepth, in.features));
    perThread_ = left_;
    if (in.features > kDepth) perThread_ += rows * ((panels + groups_ - 1) / groups_) * out.panel;
  }

  Status run() {
    HEBB_RETURN_IF_ERROR(scratch_.allocate(perThread_ * cpu_.team.size()));
    cpu_.team.parallel(parts_ * groups_, [&](int64_t chunk, int rank) {
      const int64_t part = chunk / groups_, group = chunk % groups_, panels = in_.panels();
      for (int64_t block = blocks_ * part / parts_; block < blocks_ * (part + 1) / parts_; ++block) {
        multiply(firstRowOf(rows_, block, blocks_), firstRowOf(rows_, block + 1, blocks_),
                 static_cast<int32_t>(panels * group / groups_), static_cast<int32_t>(panels * (group + 1) / groups_),
                 scratch_.data() + perThread_ * rank);
      }
    });
    return {};
  }

 private:
  /// Rows [begin, end) of the panels [firstPanel, lastPanel).
  void multiply(int32_t begin, int32_t end, int32_t firstPanel, int32_t lastPanel, float* scratch) const {
    const int32_t rows = end - begin, depth = in_.features;
    alignas(64) float tile[kDepth * kTileColumns];
    for (int32_t first = 0; first < depth; first += kDepth) {
      const int32_t count = std::min(kDepth, depth - first);
      product_.pack(begin, rows, first, count, scratch);
      float* wait = scratch + left_;
      for (int32_t p = firstPanel; p < lastPanel; ++p) {
        const int32_t columns = liveColumns(in_, p);
        int32_t column = 0;
        for (; column + kTileColumns <= columns; column += kTileColumns)
          wait = multiply<2>(begin, rows, first, count, p, column, tile, scratch, wait);
        if (column < columns) wait = multiply<1>(begin, rows, first, count, p, column, tile, scratch, wait);
      }
    }
  }

  /// All rows of the block times a tile of X, whose neighbour is prefetched. Its sums wait at `wait`; returns where
  /// those of the next tile do.
  template <int NV>
  float* multiply(int32_t begin, int32_t rows, int32_t first, int32_t count, int32_t p, int32_t column, float* tile,
                  const float* left, float* wait) const {
    const float* x = panelData(in_, p) + static_cast<int64_t>(first) * in_.panel + column;
    for (int32_t k = 0; k < count; ++k) {
      for (int i = 0; i < NV; ++i) store(tile + k * kTileColumns + i * W, load(x + k * in_.panel + i * W));
    }
    const bool last = first + count == in_.features;
    const float* next = x + (column + kTileColumns < in_.panel ? kTileColumns : in_.panelStride() - column);
    const int32_t share = (count * kTileRows + rows - 1) / rows;
    for (int32_t row = 0; row < rows; row += kTileRows) {
      for (int32_t k = 0; k < share; ++k, next += in_.panel) __builtin_prefetch(next, 0, 2);
      Vec sum[kTileRows][NV];
      if (first > 0) {
        unrolled<kTileRows>([&](int r) {
          for (int i = 0; i < NV; ++i) sum[r][i] = load(wait + (r * NV + i) * W);
        });
      } else {
        unrolled<kTileRows>([&](int r) {
          for (int i = 0; i < NV; ++i) sum[r][i] = Vec{};
        });
      }
      product_.add(begin, row, rows, first, count, left, tile, sum);
      if (last) {
        product_.finish(p, begin + row, rows - row, column, sum);
      } else {
        unrolled<kTileRows>([&](int r) {
          for (int i = 0; i < NV; ++i) store(wait + (r * NV + i) * W, sum[r][i]);
        });
      }
      wait += kTileRows * NV * W;
    }
    return wait;
  }

  Cpu& cpu_;
  const Product product_;
  const Activations& in_;
  const int32_t rows_, blocks_;
  int64_t parts_, groups_;    // of the blocks, of the panels
  int64_t left_, perThread_;  // numbers of scratch memory: for L, with the sums
  Scratch<float> scratch_;
};

/// Rows of W are read as they lie. The last ones, where they do not fill a tile, are copied, with room behind them.
struct Forward {
  const Linear& op;
  static int64_t left(int64_t, int32_t depth) { return int64_t{kTileRows} * depth; }

  void pack(int32_t begin, int32_t rows, int32_t first, int32_t count, float* out) const {
    for (int32_t row = rows / kTileRows * kTileRows; row < rows; ++row, out += count)
      std::copy_n(op.weights + static_cast<int64_t>(begin + row) * op.input.features + first, count, out);
  }

  template <int NV>
  HEBB_INLINE void add(int32_t begin, int32_t row, int32_t rows, int32_t first, int32_t count, const float* left,
                       const float* tile, Vec (&sum)[kTileRows][NV]) const {
    const int64_t n = op.input.features;
    const bool whole = row + kTileRows <= rows;
    addOuterProducts<kTileRows, NV>(whole ? op.weights + (begin + row) * n + first : left, whole ? n : count, 1, count,
                                    tile, kTileColumns, sum);
  }

  template <int R, int NV>
  HEBB_INLINE void finish(int32_t p, int32_t row, int32_t rows, int32_t column, const Vec (&sum)[R][NV]) const {
    const Activation activation = op.activation;
    const int64_t panel = op.output.panel;
    const float* const bias = op.bias ? op.bias + row : nullptr;
    float* const out = panelData(op.output, p) + row * panel + column;
    unrolled<R>([&](int r) {
      if (r >= rows) return;
      const Vec b = splat(bias ? bias[r] : 0.f);
      for (int i = 0; i < NV; ++i) store(out + r * panel + i * W, activate(sum[r][i] + b, activation));
    });
  }
};

/// Weights that a core keeps near: they are read again for every panel, and packing X gains nothing.
constexpr int64_t kNearWeights = 1 << 19;
constexpr int kFewRows = 5;  // rows of a tile then: 5 x 2 accumulators, and 10 divides by it

/// Rows [begin, end) of panel p of Y, X as it lies.
void forward(const Linear& op, int32_t p, int32_t begin, int32_t end) {
  const int32_t n = op.input.features;
  const float* const x = panelData(op.input, p);
  eachTile<kFewRows>(
      end - begin, liveColumns(op.output, p), [&](auto several, auto vectors, int32_t offset, int32_t column) {
        constexpr int R = decltype(several)::value, NV = decltype(vectors)::value;
        const int32_t row = begin + offset;
        Vec sum[R][NV] = {};
        addOuterProducts<R, NV>(op.weights + static_cast<int64_t>(row) * n, n, 1, n, x + column, op.input.panel, sum);
        Forward{op}.finish(p, row, R, column, sum);
      });
}

/// Columns of W are packed in strips: what one tile after the other reads.
struct Backward {
  const LinearTransposed& op;
  static constexpr int64_t strip(int64_t depth) { return depth * kTileRows + W; }
  static int64_t left(int64_t rows, int32_t depth) { return rows / kTileRows * strip(depth); }

  /// A vector may be wider than a strip: what it leaves behind one row of it is overwritten by the next.
  void pack(int32_t begin, int32_t rows, int32_t first, int32_t count, float* out) const {
    constexpr int32_t kAheadInColumn = 8;
    const int64_t n = op.inputGradient.features;
    for (int32_t k = 0; k < count; ++k) {
      const float* row = op.weights + (first + k) * n + begin;
      for (int32_t i = 0; i < rows; i += 16) __builtin_prefetch(row + kAheadInColumn * n + i);
      float* to = out + k * kTileRows;
      for (int32_t i = 0; i < rows; i += kTileRows, to += strip(count)) {
        for (int j = 0; j < kTileRows; j += W) store(to + j, load(row + i + j));
      }
    }
  }

  template <int NV>
  HEBB_INLINE void add(int32_t, int32_t row, int32_t, int32_t, int32_t count, const float* left, const float* tile,
                       Vec (&sum)[kTileRows][NV]) const {
    addOuterProducts<kTileRows, NV>(left + row / kTileRows * strip(count), 1, kTileRows, count, tile, kTileColumns,
                                    sum);
  }

  template <int NV>
  HEBB_INLINE void finish(int32_t p, int32_t row, int32_t rows, int32_t column, const Vec (&sum)[kTileRows][NV]) const {
    const Activation activation = op.activation;
    const bool accumulate = op.accumulate;
    const int64_t panel = op.inputGradient.panel;
    const float* const x = activation == Activation::none ? nullptr : panelData(op.input, p) + row * panel + column;
    float* const dx = panelData(op.inputGradient, p) + row * panel + column;
    unrolled<kTileRows>([&](int r) {
      if (r < rows) storeGradient<NV>(dx, x, r, panel, sum[r], activation, accumulate);
    });
  }
};

/// The gradients of the weights of kFeatures inputs, from `begin` on, in the rows [firstRow, lastRow).
struct Gradient {
  static constexpr int32_t kFeatures = 128;
  // Few enough to divide among threads, many enough that transposing X costs little.
  static constexpr int32_t kRows = 320;
  const LinearGradient& op;
  float rate;

  void block(int32_t begin, int32_t firstRow, int32_t lastRow) const {
    const Activations &x = op.input, &dy = op.outputGradient;
    const int32_t features = std::min(kFeatures, x.features - begin), rows = lastRow - firstRow,
                  whole = rows / kTileRows * kTileRows;
    int32_t panels = x.panels();
    while (panels > 1 && liveColumns(x, panels - 1) == 0) --panels;
    alignas(64) float right[kWidestPanel * kFeatures], rest[kTileRows * kWidestPanel];
    for (int32_t p = 0; p < panels; ++p) {
      const int32_t columns = liveColumns(x, p);
      const float* const left = panelData(dy, p) + static_cast<int64_t>(firstRow) * dy.panel;
      for (int32_t f = 0; f < features; f += kTileColumns)
        packRows<kTileColumns>(panelData(x, p) + static_cast<int64_t>(begin + f) * x.panel, x.panel, features - f,
                               columns, right + f * kWidestPanel);
      // The last rows, where they do not fill a tile, and the last one again, whose gradients then go nowhere.
      for (int32_t r = 0; whole < rows && r < kTileRows; ++r)
        std::copy_n(left + std::min(whole + r, rows - 1) * int64_t{dy.panel}, columns, rest + r * dy.panel);
      const auto tiles = [&](auto vectors, int32_t f) {
        constexpr int NV = decltype(vectors)::value;
        for (int32_t row = 0; row < rows; row += kTileRows) {
          const int64_t at = static_cast<int64_t>(firstRow + row) * x.features + begin + f;
          for (int r = 0; r < kTileRows; ++r) prefetchStep<NV>(at + static_cast<int64_t>(kTileRows + r) * x.features);
          Vec sum[kTileRows][NV];
          unrolled<kTileRows>([&](int r) {
            for (int i = 0; i < NV; ++i) sum[r][i] = Vec{};
          });
          addOuterProducts<kTileRows, NV>(row < whole ? left + row * int64_t{dy.panel} : rest, dy.panel, 1, columns,
                                          right + f * kWidestPanel, kTileColumns, sum);
          emit<NV>(sum, at, rows - row, std::min(NV * W, features - f), op.accumulate || p > 0, p + 1 == panels);
        }
      };
      int32_t f = 0;
      for (; f + W < features; f += kTileColumns) tiles(std::integral_constant<int, 2>{}, f);
      if (f < features) tiles(std::integral_constant<int, 1>{}, f);
    }
  }

  /// Prefetches what the optimizer will pass over in the next rows: memory holds it, and rows are too far apart to be
  /// followed.
  template <int NV>
  HEBB_INLINE void prefetchStep(int64_t at) const {
    if (!op.fusedValues.values) return;
    for (int i = 0; i < NV * W; i += 16) {
      __builtin_prefetch(op.fusedValues.values + at + i, 1);
      if (op.fusedValues.velocity) __builtin_prefetch(op.fusedValues.velocity + at + i, 1);
    }
  }

  /// `count` gradients of weights in each of `rows` rows, from place `at` on: written, added, or, where the optimizer's
  /// step takes them, not even written unless panels add up to them.
  template <int NV>
  HEBB_INLINE void emit(const Vec (&sum)[kTileRows][NV], int64_t at, int32_t rows, int32_t count, bool add,
                        bool last) const {
    const bool step = last && op.fusedValues.values;
    const int64_t n = op.input.features;
    float* const out = op.gradient + at;
    if (!step && count == NV * W) {
      unrolled<kTileRows>([&](int r) {
        if (r >= rows) return;
        for (int i = 0; i < NV; ++i) {
          float* const place = out + r * n + i * W;
          store(place, add ? load(place) + sum[r][i] : sum[r][i]);
        }
      });
      return;
    }
    alignas(64) float lanes[kTileRows][NV * W];
    unrolled<kTileRows>([&](int r) {
      for (int i = 0; i < NV; ++i) store(lanes[r] + i * W, sum[r][i]);
    });
    for (int32_t r = 0; r < kTileRows && r < rows; ++r) {
      if (add) {
        for (int32_t i = 0; i < count; ++i) lanes[r][i] += out[r * n + i];
      }
      if (step) sgdRange(op.fusedValues, rate, lanes[r], at + r * n, at + r * n + count);
      else std::copy_n(lanes[r], count, out + r * n);
    }
  }
};

/// The sums of the rows [first, last) of dY, and their step.
void biasGradient(const LinearGradient& op, int32_t first, int32_t last) {
  const Activations& dy = op.outputGradient;
  for (int32_t p = 0; p < dy.panels(); ++p) {
    if (p > 0 && liveColumns(dy, p) == 0) break;
    for (int32_t row = first; row < last; ++row) {
      const float* const d = panelData(dy, p) + static_cast<int64_t>(row) * dy.panel;
      Vec sum{};
      for (int32_t c = 0; c < liveColumns(dy, p); c += W) sum += load(d + c);
      emitGradient(op.biasGradient, row, 0, sumLanes(sum, Vec{}, Vec{}, Vec{}), 1, op.accumulateBias || p > 0);
    }
  }
  if (op.fusedBias.values)
    sgdRange(op.fusedBias, static_cast<float>(*op.fusedBias.learningRate), op.biasGradient + first, first, last);
}

}  // namespace

Status linear(Backend& backend, const Linear& op) {
  Cpu& cpu = cpuOf(backend);
  const bool large = int64_t{op.input.features} * op.output.features > kNearWeights;
  if (large && op.output.panels() > 1) return Blocks(cpu, Forward{op}, op.input, op.output).run();
  const int32_t blocks = (op.output.features + kFewRows - 1) / kFewRows;
  const int64_t work = int64_t{op.output.features} * op.input.features * (liveColumns(op.output, 0) / 16);
  const int64_t chunks = std::min<int64_t>(blocks, chunksFor(cpu, work, 6000));
  cpu.team.parallel(chunks * op.output.panels(), [&](int64_t chunk, int) {
    const auto rowOf = [&](int64_t part) {
      return std::min<int32_t>(op.output.features, static_cast<int32_t>(blocks * part / chunks) * kFewRows);
    };
    forward(op, static_cast<int32_t>(chunk / chunks), rowOf(chunk % chunks), rowOf(chunk % chunks + 1));
  });
  return {};
}

Status linearTransposed(Backend& backend, const LinearTransposed& op) {
  return Blocks(cpuOf(backend), Backward{op}, op.outputGradient, op.inputGradient).run();
}

Status linearGradient(Backend& backend, const LinearGradient& op) {
  Cpu& cpu = cpuOf(backend);
  const int32_t m = op.outputGradient.features,
                blocks = (op.input.features + Gradient::kFeatures - 1) / Gradient::kFeatures;
  const int32_t parts = (m + Gradient::kRows - 1) / Gradient::kRows;
  const Gradient gradient{op, op.fusedValues.values ? static_cast<float>(*op.fusedValues.learningRate) : 0};
  cpu.team.parallel(int64_t{blocks} * parts, [&](int64_t chunk, int) {
    const int32_t part = static_cast<int32_t>(chunk / blocks), block = static_cast<int32_t>(chunk % blocks);
    const int32_t first = firstRowOf(m, part, parts), last = firstRowOf(m, part + 1, parts);
    gradient.block(block * Gradient::kFeatures, first, last);
    if (op.biasGradient && block == 0) biasGradient(op, first, last);
  });
  return {};
}

}  // namespace hebb::cpu::HEBB_LEVEL
