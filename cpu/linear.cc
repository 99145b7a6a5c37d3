// A dense layer by outer products in registers: R rows times NV vectors, of the batch or, for the weights' gradient, of
// a row of weights. It is a network's last layer, and what sparse layers are compared with. Weights are read and
// written along their rows: W^T takes them in packed strips, and the gradient takes X transposed, so that whole vectors
// of a row come out and the optimizer's step can be taken on them at once. Bound by the multiply-adds, one a weight and
// column; with the step, by reading and writing weights and velocities.
#include "hebb/linear.h"

#include "cpu.h"
#include "level.h"
#include "outer_products.h"

namespace hebb::cpu::HEBB_LEVEL {
namespace {

constexpr int kRows = 5;  // rows of the result held in registers: 5 x 2 accumulators, and 10 divides by it

/// Rows [begin, end) of panel p of Y.
void forward(const Linear& op, int32_t p, int32_t begin, int32_t end) {
  const int32_t n = op.input.features;
  const float* const x = panelData(op.input, p);
  float* const y = panelData(op.output, p);
  eachTile<kRows>(
      end - begin, liveColumns(op.output, p), [&](auto several, auto vectors, int32_t offset, int32_t column) {
        constexpr int R = decltype(several)::value, NV = decltype(vectors)::value;
        const int32_t row = begin + offset;
        Vec sum[R][NV] = {};
        addOuterProducts<R, NV>(op.weights + static_cast<int64_t>(row) * n, n, 1, n, x + column, op.input.panel, sum);
        for (int r = 0; r < R; ++r) {
          const Vec bias = splat(op.bias ? op.bias[row + r] : 0.f);
          float* out = y + static_cast<int64_t>(row + r) * op.output.panel + column;
          for (int i = 0; i < NV; ++i) store(out + i * W, activate(sum[r][i] + bias, op.activation));
        }
      });
}

constexpr int32_t kStrip = 32;  // two cache lines of each row of weights

/// Rows [begin, begin + kStrip) of panel p of dX. Rows of weights are packed kDepth at a time; between these the sums
/// wait in memory.
void backward(const LinearTransposed& op, int32_t p, int32_t begin) {
  constexpr int32_t kDepth = 128;
  const int32_t m = op.outputGradient.features, n = op.inputGradient.features, rows = std::min(kStrip, n - begin);
  const int64_t panel = op.outputGradient.panel;
  const float* const dy = panelData(op.outputGradient, p);
  const float* const input = op.activation == Activation::none ? nullptr : panelData(op.input, p);
  float* const dx = panelData(op.inputGradient, p);
  alignas(64) float packed[kDepth * kStrip], waiting[kStrip * kWidestPanel];
  for (int32_t first = 0; first < m; first += kDepth) {
    const int32_t count = std::min(kDepth, m - first);
    for (int32_t k = 0; k < count; ++k) {
      const float* row = op.weights + static_cast<int64_t>(first + k) * n + begin;
      std::copy_n(row, rows, packed + k * kStrip);
      if (first + k + kDepth < m) {
        for (int32_t i = 0; i < rows; i += 16) __builtin_prefetch(row + int64_t{kDepth} * n + i);
      }
    }
    eachTile<W == 16 ? 8 : 4>(
        rows, liveColumns(op.inputGradient, p), [&](auto several, auto vectors, int32_t row, int32_t column) {
          constexpr int R = decltype(several)::value, NV = decltype(vectors)::value;
          float* const wait = waiting + row * op.inputGradient.panel + column;
          Vec sum[R][NV];
          for (int r = 0; r < R; ++r) {
            for (int i = 0; i < NV; ++i)
              sum[r][i] = first > 0 ? load(wait + r * op.inputGradient.panel + i * W) : Vec{};
          }
          addOuterProducts<R, NV>(packed + row, 1, kStrip, count, dy + first * panel + column, panel, sum);
          const float* x = input ? input + column : nullptr;
          for (int r = 0; r < R; ++r) {
            if (first + count == m) {
              storeGradient<NV>(dx + column, x, begin + row + r, op.inputGradient.panel, sum[r], op.activation,
                                op.accumulate);
            } else {
              for (int i = 0; i < NV; ++i) store(wait + r * op.inputGradient.panel + i * W, sum[r][i]);
            }
          }
        });
  }
}

/// The gradients of the weights of kFeatures inputs, from `begin` on, in the rows [firstRow, lastRow).
struct Gradient {
  static constexpr int32_t kFeatures = 128;
  const LinearGradient& op;
  float rate;

  void block(int32_t begin, int32_t firstRow, int32_t lastRow) const {
    const Activations &x = op.input, &dy = op.outputGradient;
    const int32_t features = std::min(kFeatures, x.features - begin), wide = (features + W - 1) / W * W;
    int32_t panels = x.panels();
    while (panels > 1 && liveColumns(x, panels - 1) == 0) --panels;
    alignas(64) float transposed[kWidestPanel * kFeatures];
    for (int32_t p = 0; p < panels; ++p) {
      const int32_t columns = liveColumns(x, p);
      const float* const gradients = panelData(dy, p);
      transpose(panelData(x, p) + static_cast<int64_t>(begin) * x.panel, x.panel, features, columns, transposed);
      eachTile<kRows>(lastRow - firstRow, wide, [&](auto several, auto vectors, int32_t offset, int32_t feature) {
        constexpr int R = decltype(several)::value, NV = decltype(vectors)::value;
        const int32_t row = firstRow + offset;
        for (int r = 0; r < R; ++r) prefetchStep<NV>(static_cast<int64_t>(row + R + r) * x.features + begin + feature);
        Vec sum[R][NV] = {};
        addOuterProducts<R, NV>(gradients + static_cast<int64_t>(row) * dy.panel, dy.panel, 1, columns,
                                transposed + feature, kFeatures, sum);
        for (int r = 0; r < R; ++r) {
          const int64_t at = static_cast<int64_t>(row + r) * x.features + begin + feature;
          emit<NV>(sum[r], at, std::min(NV * W, features - feature), op.accumulate || p > 0, p + 1 == panels);
        }
      });
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

  /// `count` gradients of weights from place `at` on: written, added, or, where the optimizer's step takes them, not
  /// even written unless panels add up to them.
  template <int NV>
  HEBB_INLINE void emit(const Vec (&sum)[NV], int64_t at, int32_t count, bool add, bool last) const {
    const bool step = last && op.fusedValues.values;
    if (!step && count == NV * W) {
      for (int i = 0; i < NV; ++i)
        store(op.gradient + at + i * W, add ? load(op.gradient + at + i * W) + sum[i] : sum[i]);
      return;
    }
    float lanes[NV * W];
    for (int i = 0; i < NV; ++i) store(lanes + i * W, sum[i]);
    if (add) {
      for (int32_t i = 0; i < count; ++i) lanes[i] += op.gradient[at + i];
    }
    if (step) sgdRange(op.fusedValues, rate, lanes, at, at + count);
    else std::copy_n(lanes, count, op.gradient + at);
  }

  /// X [features][panel] to [columns][kFeatures], the features up to the next multiple of W zero.
  static void transpose(const float* x, int64_t panel, int32_t features, int32_t columns, float* out) {
    int32_t f = 0;
    for (; f + 4 <= features; f += 4) {
      for (int32_t c = 0; c < columns; c += 4) {
        Vec4 in[4];
        for (int j = 0; j < 4; ++j) in[j] = load4(x + (f + j) * panel + c);
        const Vec4 ab = HEBB_SHUFFLE(in[0], in[1], 0, 4, 1, 5), cd = HEBB_SHUFFLE(in[2], in[3], 0, 4, 1, 5);
        const Vec4 ef = HEBB_SHUFFLE(in[0], in[1], 2, 6, 3, 7), gh = HEBB_SHUFFLE(in[2], in[3], 2, 6, 3, 7);
        store4(out + (c + 0) * kFeatures + f, HEBB_SHUFFLE(ab, cd, 0, 1, 4, 5));
        store4(out + (c + 1) * kFeatures + f, HEBB_SHUFFLE(ab, cd, 2, 3, 6, 7));
        store4(out + (c + 2) * kFeatures + f, HEBB_SHUFFLE(ef, gh, 0, 1, 4, 5));
        store4(out + (c + 3) * kFeatures + f, HEBB_SHUFFLE(ef, gh, 2, 3, 6, 7));
      }
    }
    for (; f < (features + W - 1) / W * W; ++f) {
      for (int32_t c = 0; c < columns; ++c) out[c * kFeatures + f] = f < features ? x[f * panel + c] : 0.f;
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
  const int32_t blocks = (op.output.features + kRows - 1) / kRows;
  const int64_t work = int64_t{op.output.features} * op.input.features * (liveColumns(op.output, 0) / 16);
  const int64_t chunks = std::min<int64_t>(blocks, chunksFor(cpu, work, 6000));
  cpu.team.parallel(chunks * op.output.panels(), [&](int64_t chunk, int) {
    const auto rowOf = [&](int64_t part) {
      return std::min<int32_t>(op.output.features, static_cast<int32_t>(blocks * part / chunks) * kRows);
    };
    forward(op, static_cast<int32_t>(chunk / chunks), rowOf(chunk % chunks), rowOf(chunk % chunks + 1));
  });
  return {};
}

Status linearTransposed(Backend& backend, const LinearTransposed& op) {
  Cpu& cpu = cpuOf(backend);
  const int32_t strips = (op.inputGradient.features + kStrip - 1) / kStrip;
  const int64_t work =
      int64_t{op.outputGradient.features} * op.inputGradient.features * (liveColumns(op.inputGradient, 0) / 16);
  const int64_t chunks = std::min<int64_t>(strips, chunksFor(cpu, work, 6000));
  cpu.team.parallel(chunks * op.inputGradient.panels(), [&](int64_t chunk, int) {
    const int64_t part = chunk % chunks;
    for (int64_t strip = strips * part / chunks; strip < strips * (part + 1) / chunks; ++strip) {
      backward(op, static_cast<int32_t>(chunk / chunks), static_cast<int32_t>(strip) * kStrip);
    }
  });
  return {};
}

Status linearGradient(Backend& backend, const LinearGradient& op) {
  // Few enough to divide among threads, many enough that transposing X costs little.
  constexpr int32_t kRowsAtOnce = 320;
  Cpu& cpu = cpuOf(backend);
  const int32_t m = op.outputGradient.features,
                blocks = (op.input.features + Gradient::kFeatures - 1) / Gradient::kFeatures;
  const int32_t parts = (m + kRowsAtOnce - 1) / kRowsAtOnce;
  const Gradient gradient{op, op.fusedValues.values ? static_cast<float>(*op.fusedValues.learningRate) : 0};
  cpu.team.parallel(int64_t{blocks} * parts, [&](int64_t chunk, int) {
    const int32_t part = static_cast<int32_t>(chunk / blocks), block = static_cast<int32_t>(chunk % blocks);
    const int32_t first = part * kRowsAtOnce, last = std::min(m, first + kRowsAtOnce);
    gradient.block(block * Gradient::kFeatures, first, last);
    if (op.biasGradient && block == 0) biasGradient(op, first, last);
  });
  return {};
}

}  // namespace hebb::cpu::HEBB_LEVEL
