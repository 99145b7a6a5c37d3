// The weights' gradient on the links alone: a dot over the batch for each link. A row of dY stays in registers or L1; four links are
// reduced together, so the sum over lanes costs three operations a link. The optimizer's step can follow at once, chunk by chunk, while the
// chunk's gradients are in L1.
// Bound, like spmm, by fetching one row of X a link.
#include "hebb/sddmm.h"

#include <algorithm>

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

template <int NV, bool Far>
void gradientRows(const Sddmm& op, int32_t p, int32_t first, int32_t last, int32_t vectors, bool firstPanel) {
  const Csr& w = op.pattern;
  const float* x = panelData(op.input, p);
  const float* dy = panelData(op.outputGradient, p);
  const int64_t panel = op.outputGradient.panel, chunkEnd = w.rowOffsets[last];
  const bool add = op.accumulate || !firstPanel;
  for (int32_t row = first; row < last; ++row) {
    const float* d = dy + row * panel;
    const int32_t end = w.rowOffsets[row + 1];
    int32_t k = w.rowOffsets[row];
    for (; k + 4 <= end; k += 4) {
      if constexpr (Far) {
        for (int j = 0; j < 4; ++j) {
          const float* ahead = x + w.columnIndices[k + kAhead + j] * int64_t{op.input.panel};
          for (int i = 0; i < vectors * W; i += 16) __builtin_prefetch(ahead + i);
        }
      }
      emitGradient(op.gradient, k, chunkEnd, dots<NV>(d, x, op.input.panel, w.columnIndices + k, vectors), 4, add);
    }
    if (k < end) {
      int32_t columns[4];
      for (int j = 0; j < 4; ++j) columns[j] = w.columnIndices[k + j < end ? k + j : end - 1];
      emitGradient(op.gradient, k, chunkEnd, dots<NV>(d, x, op.input.panel, columns, vectors), end - k, add);
    }
  }
  if (!op.biasGradient) return;
  const bool addBias = op.accumulateBias || !firstPanel;
  for (int32_t row = first; row < last; row += 4) {
    Vec sum[4] = {};
    for (int j = 0; j < 4; ++j) {
      const float* d = dy + (row + j < last ? row + j : last - 1) * panel;
      for (int32_t i = 0; i < vectors; ++i) sum[j] += load(d + i * W);
    }
    emitGradient(op.biasGradient, row, last, sumLanes(sum[0], sum[1], sum[2], sum[3]), std::min(4, last - row), addBias);
  }
}

}  // namespace

Status sddmm(Backend& backend, const Sddmm& op) {
  Cpu& cpu = cpuOf(backend);
  const Csr& w = op.pattern;
  int32_t panels = op.input.panels();
  while (panels > 1 && liveColumns(op.input, panels - 1) == 0) --panels;
  const int64_t work = (w.rowOffsets[w.rows] + 4 * int64_t{w.rows}) * panels * (liveColumns(op.input, 0) / 16 + 1);
  const int64_t chunks = chunksFor(cpu, work, 2000);
  cpu.team.parallel(chunks, [&](int64_t chunk, int) {
    const int32_t first = firstRow(w.rowOffsets, w.rows, chunk, chunks), last = firstRow(w.rowOffsets, w.rows, chunk + 1, chunks);
    for (int32_t p = 0; p < panels; ++p) {
      const int32_t vectors = liveColumns(op.input, p) / W;
      const auto choose = [&](auto isFar) {
        constexpr bool F = decltype(isFar)::value;
        return vectors == 1 ? gradientRows<1, F> : vectors == 2 ? gradientRows<2, F> : vectors == 4 ? gradientRows<4, F> : vectors == 8 ? gradientRows<8, F> : gradientRows<0, F>;
      };
      const auto kernel = isFar(op.input) ? choose(std::true_type{}) : choose(std::false_type{});
      kernel(op, p, first, last, vectors, p == 0);
    }
    const auto step = [&](const SgdRule& rule, const float* gradient, int64_t begin, int64_t end) {
      if (rule.values) sgdRange(rule, static_cast<float>(*rule.learningRate), gradient, begin, end);
    };
    step(op.fusedValues, op.gradient, w.rowOffsets[first], w.rowOffsets[last]);
    step(op.fusedBias, op.biasGradient, first, last);
  });
  return {};
}

}  // namespace hebb::cpu::HEBB_LEVEL
