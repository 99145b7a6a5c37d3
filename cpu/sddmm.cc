// The weights' gradient on the links alone: a dot over the batch for each link. A row of dY stays in registers or L1; four links are
// reduced together, so the sum over lanes costs three operations a link. The optimizer's step can follow at once: then no gradient is written.
// Bound, like spmm, by fetching one row of X a link.
#include "hebb/sddmm.h"

#include "cpu.h"
#include "level.h"

namespace hebb::cpu::HEBB_LEVEL {
namespace {

/// Dots of `count` vectors' worth of dy with the rows of four links.
template <int NV>
HEBB_INLINE Vec4 dots(const float* dy, const float* x, int64_t panel, const int32_t* columns, int32_t vectors) {
  const float* p[4];
  for (int j = 0; j < 4; ++j) p[j] = x + columns[j] * panel;
  Vec part[4] = {};
  const int32_t n = NV > 0 ? NV : vectors;
  for (int32_t i = 0; i < n; ++i) {
    const Vec d = load(dy + i * W);
    for (int j = 0; j < 4; ++j) part[j] = mulAdd(d, load(p[j] + i * W), part[j]);
  }
  return sumLanes(part[0], part[1], part[2], part[3]);
}

struct Rates {
  float values, bias;
};

template <int NV>
void gradientRows(const Sddmm& op, const Rates& rates, int32_t p, int32_t first, int32_t last, int32_t vectors, bool firstPanel, bool lastPanel) {
  const Csr& w = op.pattern;
  const float* x = panelData(op.input, p);
  const float* dy = panelData(op.outputGradient, p);
  const bool add = op.accumulate || !firstPanel, addBias = op.accumulateBias || !firstPanel;
  const SgdRule values = lastPanel ? op.fusedValues : SgdRule{}, bias = lastPanel ? op.fusedBias : SgdRule{};
  for (int32_t row = first; row < last; ++row) {
    const float* d = dy + static_cast<int64_t>(row) * op.outputGradient.panel;
    const int32_t end = w.rowOffsets[row + 1];
    int32_t k = w.rowOffsets[row];
    for (; k + 4 <= end; k += 4) {
      emitGradient(op.gradient, values, rates.values, k, dots<NV>(d, x, op.input.panel, w.columnIndices + k, vectors), 4, add);
    }
    if (k < end) {
      int32_t columns[4];
      for (int j = 0; j < 4; ++j) columns[j] = w.columnIndices[k + j < end ? k + j : end - 1];
      emitGradient(op.gradient, values, rates.values, k, dots<NV>(d, x, op.input.panel, columns, vectors), end - k, add);
    }
    if (op.biasGradient) {
      Vec sum{};
      for (int32_t i = 0; i < vectors; ++i) sum += load(d + i * W);
      emitGradient(op.biasGradient, bias, rates.bias, row, sumLanes(sum, Vec{}, Vec{}, Vec{}), 1, addBias);
    }
  }
}

}  // namespace

Status sddmm(Backend& backend, const Sddmm& op) {
  Cpu& cpu = cpuOf(backend);
  const Csr& w = op.pattern;
  const Rates rates{op.fusedValues.values ? static_cast<float>(*op.fusedValues.learningRate) : 0.f,
                    op.fusedBias.values ? static_cast<float>(*op.fusedBias.learningRate) : 0.f};
  int32_t panels = op.input.panels();
  while (panels > 1 && liveColumns(op.input, panels - 1) == 0) --panels;
  const int64_t work = (w.rowOffsets[w.rows] + 4 * int64_t{w.rows}) * panels * (liveColumns(op.input, 0) / 16 + 1);
  const int64_t chunks = chunksFor(cpu, work, 2000);
  cpu.team.parallel(chunks, [&](int64_t chunk, int) {
    const int32_t first = firstRow(w.rowOffsets, w.rows, chunk, chunks), last = firstRow(w.rowOffsets, w.rows, chunk + 1, chunks);
    for (int32_t p = 0; p < panels; ++p) {
      const int32_t vectors = liveColumns(op.input, p) / W;
      const auto kernel = vectors == 1 ? gradientRows<1> : vectors == 2 ? gradientRows<2> : vectors == 4 ? gradientRows<4> : vectors == 8 ? gradientRows<8> : gradientRows<0>;
      kernel(op, rates, p, first, last, vectors, p == 0, p == panels - 1);
    }
  });
  return {};
}

}  // namespace hebb::cpu::HEBB_LEVEL
