// Sparse times dense: every link fetches one row of X (its slice of the batch) and adds it, scaled, to accumulators in
// registers. The batch is the vector axis. Two links are in flight at once, to cover the latency of the multiply-add.
// Bound by the bandwidth of the cache that holds X. Forward fetches its values through cscSlots: where these are more
// than the first cache holds, each costs a cache line of its own, half as much again as a row of X at batch 32. The
// backward product is the same kernel over the CSC view, the values as they lie. A layer that holds so many of the
// possible links that zeros cost less than indices (Backend::denseFrom) is multiplied in dense tiles instead. Where X
// is larger than a core's own caches, rows are prefetched a few links ahead: their number in flight is then not bound
// by how far the processor looks ahead by itself.
#include "hebb/spmm.h"

#include <algorithm>

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
HEBB_INLINE void accumulate(const float* x, int64_t panel, const int32_t* indices, const Values& values, int32_t begin,
                            int32_t end, Vec (&sum)[NV]) {
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
      accumulate<NV, Whole, Far>(x, op.input.panel, op.weights.columnIndices, values, op.weights.rowOffsets[row],
                                 op.weights.rowOffsets[row + 1], sum);
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
      accumulate<NV, Whole, Far>(dy, op.outputGradient.panel, op.weights.rowIndices, values,
                                 op.weights.columnOffsets[row], op.weights.columnOffsets[row + 1], sum);
      storeGradient<NV>(dx, x, row, op.inputGradient.panel, sum, op.activation, op.accumulate);
    }
  }
};

/// Forward of a layer that is so dense that it is cheaper to multiply zeros, too: weights of 16 rows and up to kColumns
/// columns are expanded into L1, and then kRows of them times two vectors of the batch are summed in registers. The
/// columns follow each other in the sums, whatever the parts and the threads.
struct TiledForward {
  static constexpr int32_t kColumns = 128, kRows = W == 16 ? 8 : 4;
  // Of weights: more columns are read side by side than the processor follows by itself.
  static constexpr int32_t kAheadInColumn = 32;
  const Spmm& op;

  /// Adds columns [first, first + count) to kRows rows of Y, of which `rows` exist, in NV vectors of the batch.
  template <int NV>
  void add(const float* weights, int32_t p, int32_t row, int32_t rows, int32_t first, int32_t count,
           int32_t column) const {
    const int64_t panel = op.input.panel;
    const float* x = panelData(op.input, p) + first * panel + column;
    float* y = panelData(op.output, p) + row * int64_t{op.output.panel} + column;
    const bool last = first + count == op.weights.cols;
    Vec sum[kRows][NV];
    for (int r = 0; r < kRows; ++r) {
      for (int i = 0; i < NV; ++i)
        sum[r][i] = first > 0 && r < rows ? load(y + r * int64_t{op.output.panel} + i * W) : Vec{};
    }
    for (int32_t c = 0; c < count; ++c) {
      Vec v[NV];
      for (int i = 0; i < NV; ++i) v[i] = load(x + c * panel + i * W);
      for (int r = 0; r < kRows; ++r) {
        const Vec weight = splat(weights[c * Tiles::kRows + r]);
        for (int i = 0; i < NV; ++i) sum[r][i] = mulAdd(weight, v[i], sum[r][i]);
      }
    }
    for (int r = 0; r < kRows; ++r) {
      if (r >= rows) continue;  // not `break`: the loop would not be unrolled, and the sums go through memory
      const Vec bias = splat(last && op.bias ? op.bias[row + r] : 0.f);
      for (int i = 0; i < NV; ++i) {
        float* out = y + r * int64_t{op.output.panel} + i * W;
        store(out, last ? activate(sum[r][i] + bias, op.activation) : sum[r][i]);
      }
    }
  }

  void part(int32_t p, int64_t part) const {
    const Csr& w = op.weights;
    const int32_t firstTile = Tiles::firstTile(w.rows, part), lastTile = Tiles::firstTile(w.rows, part + 1),
                  columns = liveColumns(op.output, p);
    alignas(64) float weights[kColumns * Tiles::kRows];
    int32_t next[kColumns];
    for (int32_t first = 0; first < w.cols; first += kColumns) {
      const int32_t count = std::min(kColumns, w.cols - first);
      std::copy_n(w.tiles.slots + part * w.cols + first, count, next);
      for (int32_t tile = firstTile; tile < lastTile; ++tile) {
        const uint16_t* masks = w.tiles.masks + int64_t{tile} * w.cols + first;
        for (int32_t c = 0; c < count; ++c) {
          __builtin_prefetch(op.values + next[c] + kAheadInColumn);
          next[c] += expand16(op.values + next[c], masks[c], weights + c * Tiles::kRows);
        }
        for (int32_t r = 0; r < Tiles::kRows; r += kRows) {
          const int32_t row = tile * Tiles::kRows + r, rows = w.rows - row;
          if (rows <= 0) break;
          int32_t column = 0;
          for (; columns - column >= 2 * W; column += 2 * W) add<2>(weights + r, p, row, rows, first, count, column);
          for (; columns - column >= W; column += W) add<1>(weights + r, p, row, rows, first, count, column);
        }
      }
    }
  }
};

template <class Kernel>
void sparseProduct(Cpu& cpu, const Kernel& kernel, const int32_t* offsets, int32_t rows, const Activations& in,
                   const Activations& out) {
  const bool far = isFar(in);
  const int32_t panels = out.panels();
  const int64_t chunks = chunksFor(cpu, (offsets[rows] + 4 * int64_t{rows}) * (liveColumns(out, 0) / 16), 1500);
  cpu.team.parallel(chunks * panels, [&](int64_t chunk, int) {
    const int32_t p = static_cast<int32_t>(chunk / chunks);
    const int32_t first = firstRow(offsets, rows, chunk % chunks, chunks),
                  last = firstRow(offsets, rows, chunk % chunks + 1, chunks);
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
  if (Cpu& cpu = cpuOf(backend); isDense(cpu, w)) {
    cpu.team.parallel(int64_t{Tiles::kParts} * op.output.panels(), [&](int64_t chunk, int) {
      TiledForward{op}.part(static_cast<int32_t>(chunk / Tiles::kParts), chunk % Tiles::kParts);
    });
    return {};
  }
  sparseProduct(cpuOf(backend), SparseForward{op}, w.rowOffsets, w.rows, op.input, op.output);
  return {};
}

Status spmmTransposed(Backend& backend, const SpmmTransposed& op) {
  const Csr& w = op.weights;
  sparseProduct(cpuOf(backend), SparseBackward{op}, w.columnOffsets, w.cols, op.outputGradient, op.inputGradient);
  return {};
}

}  // namespace hebb::cpu::HEBB_LEVEL
