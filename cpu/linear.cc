// A dense layer by outer products in registers: R rows times NV vectors of the batch. Meant for a network's small last layer; a layer
// that is worth a tuned GEMM is not what this library is for.
#include "hebb/linear.h"

#include "cpu.h"
#include "level.h"

namespace hebb::cpu::HEBB_LEVEL {
namespace {

constexpr int kRows = 5;  // rows of the result held in registers: 5 x 2 accumulators, and 10 divides by it

/// sum[r] = the sum over b < n of coefficients[r * rowStride + b * stride] * in[b].
template <int R, int NV>
HEBB_INLINE void outerProducts(const float* coefficients, int64_t rowStride, int64_t stride, int32_t n, const float* in, int64_t panel, Vec (&sum)[R][NV]) {
  for (int r = 0; r < R; ++r) {
    for (int i = 0; i < NV; ++i) sum[r][i] = Vec{};
  }
  for (int32_t b = 0; b < n; ++b) {
    Vec x[NV];
    for (int i = 0; i < NV; ++i) x[i] = load(in + b * panel + i * W);
    for (int r = 0; r < R; ++r) {
      const Vec c = splat(coefficients[r * rowStride + b * stride]);
      for (int i = 0; i < NV; ++i) sum[r][i] = mulAdd(c, x[i], sum[r][i]);
    }
  }
}

/// Runs kernel.outerProducts<R, NV>(panel, row, column) over the whole result.
template <class Kernel>
void denseProduct(Cpu& cpu, const Kernel& kernel, const Activations& out, int64_t workPerRow) {
  const int32_t rowBlocks = (out.features + kRows - 1) / kRows;
  const int64_t chunks = std::min<int64_t>(rowBlocks, chunksFor(cpu, out.features * workPerRow, 6000));
  cpu.team.parallel(chunks * out.panels(), [&](int64_t chunk, int) {
    const int32_t p = static_cast<int32_t>(chunk / chunks);
    const int64_t part = chunk % chunks;
    const int32_t first = static_cast<int32_t>(rowBlocks * part / chunks) * kRows;
    const int32_t last = std::min<int32_t>(out.features, static_cast<int32_t>(rowBlocks * (part + 1) / chunks) * kRows);
    for (int32_t c = 0, columns = liveColumns(out, p); c < columns;) {
      const bool pair = columns - c >= 2 * W;
      int32_t row = first;
      for (; row + kRows <= last; row += kRows) pair ? kernel.template run<kRows, 2>(p, row, c) : kernel.template run<kRows, 1>(p, row, c);
      for (; row < last; ++row) pair ? kernel.template run<1, 2>(p, row, c) : kernel.template run<1, 1>(p, row, c);
      c += pair ? 2 * W : W;
    }
  });
}

struct DenseForward {
  const Linear& op;
  template <int R, int NV>
  void run(int32_t p, int32_t row, int32_t column) const {
    const int32_t n = op.input.features;
    Vec sum[R][NV];
    outerProducts<R, NV>(op.weights + static_cast<int64_t>(row) * n, n, 1, n, panelData(op.input, p) + column, op.input.panel, sum);
    for (int r = 0; r < R; ++r) {
      const Vec bias = splat(op.bias ? op.bias[row + r] : 0.f);
      float* out = panelData(op.output, p) + static_cast<int64_t>(row + r) * op.output.panel + column;
      for (int i = 0; i < NV; ++i) store(out + i * W, activate(sum[r][i] + bias, op.activation));
    }
  }
};

struct DenseBackward {
  const LinearTransposed& op;
  template <int R, int NV>
  void run(int32_t p, int32_t row, int32_t column) const {
    Vec sum[R][NV];
    outerProducts<R, NV>(op.weights + row, 1, op.inputGradient.features, op.outputGradient.features, panelData(op.outputGradient, p) + column,
                 op.outputGradient.panel, sum);
    const float* x = op.activation == Activation::none ? nullptr : panelData(op.input, p) + column;
    for (int r = 0; r < R; ++r) {
      storeGradient<NV>(panelData(op.inputGradient, p) + column, x, row + r, op.inputGradient.panel, sum[r], op.activation, op.accumulate);
    }
  }
};

}  // namespace

Status linear(Backend& backend, const Linear& op) {
  denseProduct(cpuOf(backend), DenseForward{op}, op.output, int64_t{op.input.features} * (liveColumns(op.output, 0) / 16));
  return {};
}

Status linearTransposed(Backend& backend, const LinearTransposed& op) {
  denseProduct(cpuOf(backend), DenseBackward{op}, op.inputGradient, int64_t{op.outputGradient.features} * (liveColumns(op.inputGradient, 0) / 16));
  return {};
}

Status linearGradient(Backend& backend, const LinearGradient& op) {
  Cpu& cpu = cpuOf(backend);
  const int32_t n = op.input.features, m = op.outputGradient.features, panels = op.input.panels();
  const int32_t groups = (n + 3) / 4;
  const int64_t chunks = std::min<int64_t>(groups, chunksFor(cpu, int64_t{n} * m * panels, 3000));
  cpu.team.parallel(chunks, [&](int64_t chunk, int) {
    for (int32_t p = 0; p < panels; ++p) {
      const int32_t vectors = liveColumns(op.input, p) / W;
      if (p > 0 && vectors == 0) break;
      const float* x = panelData(op.input, p);
      const float* dy = panelData(op.outputGradient, p);
      for (int32_t k = static_cast<int32_t>(groups * chunk / chunks) * 4, end = static_cast<int32_t>(groups * (chunk + 1) / chunks) * 4; k < end; k += 4) {
        const int count = std::min(4, n - k);
        const float* column[4];
        for (int j = 0; j < 4; ++j) column[j] = x + static_cast<int64_t>(k + std::min(j, count - 1)) * op.input.panel;
        for (int32_t row = 0; row < m; ++row) {
          const float* d = dy + static_cast<int64_t>(row) * op.outputGradient.panel;
          Vec part[4] = {};
          for (int32_t i = 0; i < vectors; ++i) {
            for (int j = 0; j < 4; ++j) part[j] = mulAdd(load(d + i * W), load(column[j] + i * W), part[j]);
          }
          emitGradient(op.gradient, static_cast<int64_t>(row) * n + k, 0, sumLanes(part[0], part[1], part[2], part[3]), count, op.accumulate || p > 0);
        }
      }
      if (chunk == 0 && op.biasGradient) {
        for (int32_t row = 0; row < m; ++row) {
          Vec sum{};
          for (int32_t i = 0; i < vectors; ++i) sum += load(dy + static_cast<int64_t>(row) * op.outputGradient.panel + i * W);
          emitGradient(op.biasGradient, row, 0, sumLanes(sum, Vec{}, Vec{}, Vec{}), 1, op.accumulateBias || p > 0);
        }
      }
    }
  });
  return {};
}

}  // namespace hebb::cpu::HEBB_LEVEL
