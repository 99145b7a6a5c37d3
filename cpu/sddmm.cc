// The weights' gradient on the links alone: a dot over the batch for each link. A row of X stays in registers or L1;
// four links are reduced together, so the sum over lanes costs three operations a link. Where the engine says so, the
// same pass over the rows of dY also gives dX = W^T dY (a link's row of dY serves both, and the vectors of the widest
// level have the registers for it), and the optimizer's step follows block by block, while the block's gradients are in
// L1.
// Bound by fetching one row of dY a link; with dX, by the multiply-adds: two a link and column, beside those of the
// sums over lanes.
#include "hebb/sddmm.h"

#include <algorithm>

#include "cpu.h"
#include "level.h"

namespace hebb::cpu::HEBB_LEVEL {
namespace {

/// Links whose gradients lie in L1 until the optimizer takes them.
constexpr int32_t kBlock = 2048;

/// Dots of `count` vectors' worth of x with the rows of four links.
template <int NV>
HEBB_INLINE Vec4 dots(const float* x, const float* dy, int64_t panel, const int32_t* rows, int32_t vectors) {
  const float* p[4];
  for (int j = 0; j < 4; ++j) p[j] = dy + rows[j] * panel;
  Vec part[4] = {};
  const int32_t n = NV > 0 ? NV : vectors;
  for (int32_t i = 0; i < n; ++i) {
    const Vec v = load(x + i * W);
    for (int j = 0; j < 4; ++j) part[j] = mulAdd(v, load(p[j] + i * W), part[j]);
  }
  return sumLanes(part[0], part[1], part[2], part[3]);
}

/// The same of N links, whose rows are also added, with the links' weights, to the sums of spmmTransposed, in its
/// order.
template <int N, int NV>
HEBB_INLINE Vec4 dotsAndSums(const Vec (&x)[NV], const float* dy, int64_t panel, const int32_t* rows,
                             const float* values, Vec (&even)[NV], Vec (&odd)[NV]) {
  Vec part[4] = {};
  for (int j = 0; j < N; ++j) {
    const float* p = dy + rows[j] * panel;
    const Vec w = splat(values[j]);
    for (int i = 0; i < NV; ++i) {
      const Vec d = load(p + i * W);
      part[j] = mulAdd(x[i], d, part[j]);
      if (j % 2 == 0) even[i] = mulAdd(w, d, even[i]);
      else odd[i] = mulAdd(w, d, odd[i]);
    }
  }
  return sumLanes(part[0], part[1], part[2], part[3]);
}

/// Columns of one panel: what their gradients are computed from, and where they go.
struct Columns {
  const Sddmm& op;
  int32_t p, vectors;
  float* gradient;  // of link `begin`
  int32_t begin;
  int64_t room;  // places from `gradient` on that may be written
  bool add;

  template <bool Far>
  HEBB_INLINE void prefetchRow(const float* dy, int32_t k) const {
    if constexpr (Far) {
      for (int j = 0; j < 4; ++j) {
        const float* ahead = dy + op.pattern.rowIndices[k + kAhead + j] * int64_t{op.outputGradient.panel};
        for (int i = 0; i < vectors * W; i += 16) __builtin_prefetch(ahead + i);
      }
    }
  }

  /// Prefetches what the optimizer will pass over in the next block: where memory holds it, its stream begins anew with
  /// every block.
  HEBB_INLINE void prefetchStep(int32_t k) const {
    if (!op.fusedValues.values) return;
    __builtin_prefetch(op.fusedValues.values + k + kBlock, 1);
    if (op.fusedValues.velocity) __builtin_prefetch(op.fusedValues.velocity + k + kBlock, 1);
  }

  template <int NV, bool Far>
  void gradients(int32_t first, int32_t last) const {
    const int32_t *offsets = op.pattern.columnOffsets, *indices = op.pattern.rowIndices;
    const float *x = panelData(op.input, p), *dy = panelData(op.outputGradient, p);
    const int64_t panel = op.input.panel;
    for (int32_t column = first; column < last; ++column) {
      const float* row = x + column * panel;
      const int32_t end = offsets[column + 1];
      int32_t k = offsets[column];
      for (; k + 4 <= end; k += 4) {
        prefetchRow<Far>(dy, k);
        prefetchStep(k);
        emitGradient(gradient, k - begin, room, dots<NV>(row, dy, panel, indices + k, vectors), 4, add);
      }
      if (k < end) {
        int32_t rows[4];
        for (int j = 0; j < 4; ++j) rows[j] = indices[k + j < end ? k + j : end - 1];
        emitGradient(gradient, k - begin, room, dots<NV>(row, dy, panel, rows, vectors), end - k, add);
      }
    }
  }

  template <int NV, bool Far>
  void gradientsAndProduct(int32_t first, int32_t last) const {
    const SpmmTransposed& product = op.fusedTransposed;
    const int32_t *offsets = op.pattern.columnOffsets, *indices = op.pattern.rowIndices;
    const float *input = panelData(op.input, p), *dy = panelData(op.outputGradient, p), *values = product.values;
    const float* derivative = product.activation == Activation::none ? nullptr : panelData(product.input, p);
    float* dx = panelData(product.inputGradient, p);
    const int64_t panel = op.input.panel;
    for (int32_t column = first; column < last; ++column) {
      Vec x[NV], even[NV], odd[NV];
      for (int i = 0; i < NV; ++i) {
        x[i] = load(input + column * panel + i * W);
        even[i] = odd[i] = Vec{};
      }
      const int32_t end = offsets[column + 1];
      int32_t k = offsets[column];
      for (; k + 4 <= end; k += 4) {
        prefetchRow<Far>(dy, k);
        prefetchStep(k);
        emitGradient(gradient, k - begin, room, dotsAndSums<4>(x, dy, panel, indices + k, values + k, even, odd), 4,
                     add);
      }
      const auto rest = [&](auto count) {
        constexpr int N = decltype(count)::value;
        emitGradient(gradient, k - begin, room, dotsAndSums<N>(x, dy, panel, indices + k, values + k, even, odd), N,
                     add);
      };
      switch (end - k) {
        case 1: rest(std::integral_constant<int, 1>{}); break;
        case 2: rest(std::integral_constant<int, 2>{}); break;
        case 3: rest(std::integral_constant<int, 3>{}); break;
        default: break;
      }
      for (int i = 0; i < NV; ++i) even[i] += odd[i];
      storeGradient<NV>(dx, derivative, column, panel, even, product.activation, product.accumulate);
    }
  }

  template <bool Far>
  void compute(int32_t first, int32_t last, bool withProduct) const {
    if constexpr (W == 16) {
      if (withProduct && vectors > 0) {
        return vectors == 1   ? gradientsAndProduct<1, Far>(first, last)
               : vectors == 2 ? gradientsAndProduct<2, Far>(first, last)
               : vectors == 3 ? gradientsAndProduct<3, Far>(first, last)
                              : gradientsAndProduct<4, Far>(first, last);
      }
    }
    return vectors == 1   ? gradients<1, Far>(first, last)
           : vectors == 2 ? gradients<2, Far>(first, last)
           : vectors == 4 ? gradients<4, Far>(first, last)
           : vectors == 8 ? gradients<8, Far>(first, last)
                          : gradients<0, Far>(first, last);
  }
};

/// The sums of the rows [first, last) of dY in one panel.
void biasGradients(const Sddmm& op, int32_t p, int32_t first, int32_t last, int32_t vectors) {
  const float* dy = panelData(op.outputGradient, p);
  const bool add = op.accumulateBias || p > 0;
  for (int32_t row = first; row < last; row += 4) {
    Vec sum[4] = {};
    for (int j = 0; j < 4; ++j) {
      const float* d = dy + (row + j < last ? row + j : last - 1) * int64_t{op.outputGradient.panel};
      for (int32_t i = 0; i < vectors; ++i) sum[j] += load(d + i * W);
    }
    emitGradient(op.biasGradient, row, last, sumLanes(sum[0], sum[1], sum[2], sum[3]), std::min(4, last - row), add);
  }
}

}  // namespace

Status sddmm(Backend& backend, const Sddmm& op) {
  Cpu& cpu = cpuOf(backend);
  const Csr& w = op.pattern;
  int32_t panels = op.input.panels();
  while (panels > 1 && liveColumns(op.input, panels - 1) == 0) --panels;
  // Beyond four vectors, and below 32 registers, one pass for both would keep its sums in memory. Columns of dX that
  // are not live stay what they are.
  const bool product = op.fusedTransposed.values != nullptr, together = product && W == 16 && op.input.panel <= 4 * W;
  if (product && !together) HEBB_RETURN_IF_ERROR(spmmTransposed(backend, op.fusedTransposed));
  const int64_t work = (w.columnOffsets[w.cols] + 4 * int64_t{w.cols}) * panels * (liveColumns(op.input, 0) / 16 + 1);
  const int64_t chunks = chunksFor(cpu, work, 2000);
  const bool far = isFar(op.outputGradient);
  const float rate = op.fusedValues.values ? static_cast<float>(*op.fusedValues.learningRate) : 0;
  cpu.team.parallel(chunks, [&](int64_t chunk, int) {
    const int32_t first = firstRow(w.columnOffsets, w.cols, chunk, chunks),
                  last = firstRow(w.columnOffsets, w.cols, chunk + 1, chunks);
    // Gradients that nobody else reads need not go through memory, unless panels add up to them.
    const bool passing = op.fusedValues.values && panels == 1;
    alignas(64) float passed[kBlock];
    for (int32_t p = 0; p < panels; ++p) {
      for (int32_t begin = first, end; begin < last; begin = end) {
        for (end = begin + 1; end < last && w.columnOffsets[end + 1] - w.columnOffsets[begin] <= kBlock;) ++end;
        const int32_t from = w.columnOffsets[begin], to = w.columnOffsets[end];
        const bool near = passing && to - from <= kBlock;
        const Columns columns{op,
                              p,
                              liveColumns(op.input, p) / W,
                              near ? passed : op.gradient + from,
                              from,
                              near ? kBlock : w.columnOffsets[last] - from,
                              op.accumulate || p > 0};
        if (far) columns.compute<true>(begin, end, together);
        else columns.compute<false>(begin, end, together);
        if (p + 1 == panels && op.fusedValues.values) sgdRange(op.fusedValues, rate, columns.gradient, from, to);
      }
    }
    if (!op.biasGradient) return;
    const int32_t firstBias = static_cast<int32_t>(w.rows * chunk / chunks),
                  lastBias = static_cast<int32_t>(w.rows * (chunk + 1) / chunks);
    for (int32_t p = 0; p < panels; ++p) biasGradients(op, p, firstBias, lastBias, liveColumns(op.input, p) / W);
    if (op.fusedBias.values)
      sgdRange(op.fusedBias, static_cast<float>(*op.fusedBias.learningRate), op.biasGradient + firstBias, firstBias,
               lastBias);
  });
  return {};
}

}  // namespace hebb::cpu::HEBB_LEVEL
