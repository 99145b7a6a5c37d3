// Sparse times dense: every link fetches one row of X (its slice of the batch) and adds it, scaled, to accumulators in registers. The batch is the
// vector axis. Two links are in flight at once, to cover the latency of the multiply-add. Bound by the bandwidth of the cache that holds X.
// Forward fetches its values through cscSlots: where these are more than the first cache holds, each costs a cache line of its own, half as much again as
// a row of X at batch 32. The backward product is the same kernel over the CSC view, the values as they lie.
// Where X is larger than a core's own caches, rows are asked for a few links ahead: their number in flight is then not bound by how far the processor
// looks ahead by itself.
#include "hebb/spmm.h"

#include "cpu.h"
#include "level.h"
#include "simd.h"

namespace hebb::cpu::HEBB_LEVEL {
namespace {

/// The weights of the links in CSC order, as they lie, or in CSR order, through their slots.
struct Direct {
  const float* values;
  float operator[](int32_t k) const { return values[k]; }
  void prefetch(int32_t) const {}
};
struct ThroughSlots {
  const float* values;
  const int32_t* slots;
  float operator[](int32_t k) const { return values[slots[k]]; }
  void prefetch(int32_t k) const { __builtin_prefetch(values + slots[k]); }
};

/// sum = the rows of X at `indices` times their weights. `panel` is the width of a row of X, NV vectors if Whole.
template <int NV, bool Whole, bool Far, class Values>
HEBB_INLINE void accumulate(const float* x, int64_t panel, const int32_t* indices, const Values& values, int32_t begin, int32_t end, Vec (&sum)[NV]) {
  const int64_t stride = Whole ? NV * W : panel;
  Vec even[NV], odd[NV];
  for (int i = 0; i < NV; ++i) even[i] = odd[i] = Vec{};
  int32_t k = begin;
  for (; k + 1 < end; k += 2) {
    if constexpr (Far) {
      for (int j = 0; j < 2; ++j) {
        prefetchRow<NV>(x + indices[k + j + kAhead] * stride);
        values.prefetch(k + j + kAhead);
      }
    }
    const float* p = x + indices[k] * stride;
    const float* q = x + indices[k + 1] * stride;
    const Vec v = splat(values[k]), w = splat(values[k + 1]);
    for (int i = 0; i < NV; ++i) even[i] = mulAdd(v, load(p + i * W), even[i]);
    for (int i = 0; i < NV; ++i) odd[i] = mulAdd(w, load(q + i * W), odd[i]);
  }
  if (k < end) {
    const float* p = x + indices[k] * stride;
    const Vec v = splat(values[k]);
    for (int i = 0; i < NV; ++i) even[i] = mulAdd(v, load(p + i * W), even[i]);
  }
  for (int i = 0; i < NV; ++i) sum[i] = even[i] + odd[i];
}

struct SparseForward {
  const Spmm& op;
  template <int NV, bool Whole, bool Far>
  void rows(int32_t p, int32_t first, int32_t last, int32_t column) const {
    const float* x = panelData(op.input, p) + column;
    float* y = panelData(op.output, p) + column;
    const ThroughSlots values{op.values, op.weights.cscSlots};
    for (int32_t row = first; row < last; ++row) {
      Vec sum[NV];
      accumulate<NV, Whole, Far>(x, op.input.panel, op.weights.columnIndices, values, op.weights.rowOffsets[row], op.weights.rowOffsets[row + 1], sum);
      const Vec bias = splat(op.bias ? op.bias[row] : 0.f);
      float* out = y + static_cast<int64_t>(row) * op.output.panel;
      for (int i = 0; i < NV; ++i) store(out + i * W, activate(sum[i] + bias, op.activation));
    }
  }
};

struct SparseBackward {
  const SpmmTransposed& op;
  template <int NV, bool Whole, bool Far>
  void rows(int32_t p, int32_t first, int32_t last, int32_t column) const {
    const float* dy = panelData(op.outputGradient, p) + column;
    float* dx = panelData(op.inputGradient, p) + column;
    const float* x = op.activation == Activation::none ? nullptr : panelData(op.input, p) + column;
    const Direct values{op.values};
    for (int32_t row = first; row < last; ++row) {
      Vec sum[NV];
      accumulate<NV, Whole, Far>(dy, op.outputGradient.panel, op.weights.rowIndices, values, op.weights.columnOffsets[row], op.weights.columnOffsets[row + 1], sum);
      storeGradient<NV>(dx, x, row, op.inputGradient.panel, sum, op.activation, op.accumulate);
    }
  }
};

template <class Kernel>
void sparseProduct(Cpu& cpu, const Kernel& kernel, const int32_t* offsets, int32_t rows, const Activations& in, const Activations& out) {
  const bool far = isFar(in);
  const int32_t panels = out.panels();
  const int64_t chunks = chunksFor(cpu, (offsets[rows] + 4 * int64_t{rows}) * (liveColumns(out, 0) / 16), 1500);
  cpu.team.parallel(chunks * panels, [&](int64_t chunk, int) {
    const int32_t p = static_cast<int32_t>(chunk / chunks);
    const int32_t first = firstRow(offsets, rows, chunk % chunks, chunks), last = firstRow(offsets, rows, chunk % chunks + 1, chunks);
    eachBlock(liveColumns(out, p), [&](auto width, int32_t column) {
      constexpr int NV = decltype(width)::value;
      if (far) kernel.template rows<NV, false, true>(p, first, last, column);
      else if (in.panel == NV * W) kernel.template rows<NV, true, false>(p, first, last, column);
      else kernel.template rows<NV, false, false>(p, first, last, column);
    });
  });
}

}  // namespace

Status spmm(Backend& backend, const Spmm& op) {
  const Csr& w = op.weights;
  sparseProduct(cpuOf(backend), SparseForward{op}, w.rowOffsets, w.rows, op.input, op.output);
  return {};
}

Status spmmTransposed(Backend& backend, const SpmmTransposed& op) {
  const Csr& w = op.weights;
  sparseProduct(cpuOf(backend), SparseBackward{op}, w.columnOffsets, w.cols, op.outputGradient, op.inputGradient);
  return {};
}

}  // namespace hebb::cpu::HEBB_LEVEL
