// Sparse times dense: every link fetches one row of X (its slice of the batch) and adds it, scaled, to accumulators in
// registers. The batch is the vector axis. Two links are in flight at once, to cover the latency of the multiply-add.
// Bound by the bandwidth of the cache that holds X. Forward fetches its values through cscSlots: where these are more
// than the first cache holds, each costs a cache line of its own, half as much again as a row of X at batch 32. So the
// links of a batch of several panels are put first, once, into the order in which every panel reads them. The backward
// product is the same kernel over the CSC view, the values as they lie. A layer that holds so many of the
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

/// Where a link's row of X lies and its weight: links in CSC order, as they lie, ...
template <bool Far>
struct Direct {
  const int32_t* indices;
  const float* values;
  HEBB_INLINE const float* row(const float* x, int64_t stride, int32_t k) const { return x + indices[k] * stride; }
  HEBB_INLINE float weight(int32_t k) const { return values[k]; }
  template <int NV>
  HEBB_INLINE void ahead(const float* x, int64_t stride, int32_t k) const {
    if constexpr (Far) prefetchRow<NV>(row(x, stride, k + kAhead));
  }
  HEBB_INLINE void nextRow() const {}
};

/// ... in CSR order, the weights through their slots, ...
template <bool Far>
struct ThroughSlots {
  Direct<Far> links;
  const int32_t* slots;
  HEBB_INLINE const float* row(const float* x, int64_t stride, int32_t k) const { return links.row(x, stride, k); }
  HEBB_INLINE float weight(int32_t k) const { return links.values[slots[k]]; }
  template <int NV>
  HEBB_INLINE void ahead(const float* x, int64_t stride, int32_t k) const {
    links.template ahead<NV>(x, stride, k);
    if constexpr (Far) __builtin_prefetch(links.values + slots[k + kAhead]);
  }
  HEBB_INLINE void nextRow() const {}
};

/// ... or in the order in which they are read, for all panels but the first. Beside each row a share of the next panel
/// is prefetched: its rows would else come from far in no order.
struct Packed {
  struct Link {
    int32_t offset;  // of its row of X, in bytes
    float weight;
  };
  const Link* links;
  const float* next;
  int32_t lines;  // of `next`, a row
  HEBB_INLINE const float* row(const float* x, int64_t, int32_t k) const {
    return reinterpret_cast<const float*>(reinterpret_cast<const char*>(x) + links[k].offset);
  }
  HEBB_INLINE float weight(int32_t k) const { return links[k].weight; }
  template <int NV>
  HEBB_INLINE void ahead(const float*, int64_t, int32_t) const {}
  HEBB_INLINE void nextRow() {
    for (int32_t i = 0; i < lines; ++i, next += 16) __builtin_prefetch(next, 0, 2);
  }
};

/// sum = the rows of X of the links [begin, end) times their weights. `panel` is the width of a row of X, NV vectors if
/// Whole.
template <int NV, bool Whole, class Links>
HEBB_INLINE void accumulate(const float* x, int64_t panel, const Links& links, int32_t begin, int32_t end,
                            Vec (&sum)[NV]) {
  const int64_t stride = Whole ? NV * W : panel;
  Vec even[NV], odd[NV];
  for (int i = 0; i < NV; ++i) even[i] = odd[i] = Vec{};
  int32_t k = begin;
  for (; k + 1 < end; k += 2) {
    for (int j = 0; j < 2; ++j) links.template ahead<NV>(x, stride, k + j);
    const float* p = links.row(x, stride, k);
    const float* q = links.row(x, stride, k + 1);
    const Vec v = splat(links.weight(k)), w = splat(links.weight(k + 1));
    for (int i = 0; i < NV; ++i) even[i] = mulAdd(v, load(p + i * W), even[i]);
    for (int i = 0; i < NV; ++i) odd[i] = mulAdd(w, load(q + i * W), odd[i]);
  }
  if (k < end) {
    const float* p = links.row(x, stride, k);
    const Vec v = splat(links.weight(k));
    for (int i = 0; i < NV; ++i) even[i] = mulAdd(v, load(p + i * W), even[i]);
  }
  for (int i = 0; i < NV; ++i) sum[i] = even[i] + odd[i];
}

struct SparseForward {
  const Spmm& op;
  const Activations &in = op.input, &out = op.output;
  const int32_t *offsets = op.weights.rowOffsets, *indices = op.weights.columnIndices;
  int32_t count = op.weights.rows;

  template <bool Far>
  auto links() const {
    return ThroughSlots<Far>{{indices, op.values}, op.weights.cscSlots};
  }
  template <int NV, bool Whole, class Links>
  void rows(Links links, int32_t p, int32_t first, int32_t last, int32_t column) const {
    const float* x = panelData(in, p) + column;
    float* y = panelData(out, p) + column;
    for (int32_t row = first; row < last; ++row) {
      links.nextRow();
      Vec sum[NV];
      accumulate<NV, Whole>(x, in.panel, links, offsets[row], offsets[row + 1], sum);
      const Vec bias = splat(op.bias ? op.bias[row] : 0.f);
      float* to = y + static_cast<int64_t>(row) * out.panel;
      for (int i = 0; i < NV; ++i) store(to + i * W, activate(sum[i] + bias, op.activation));
    }
  }
};

struct SparseBackward {
  const SpmmTransposed& op;
  const Activations &in = op.outputGradient, &out = op.inputGradient;
  const int32_t *offsets = op.weights.columnOffsets, *indices = op.weights.rowIndices;
  int32_t count = op.weights.cols;

  template <bool Far>
  auto links() const {
    return Direct<Far>{indices, op.values};
  }
  template <int NV, bool Whole, class Links>
  void rows(Links links, int32_t p, int32_t first, int32_t last, int32_t column) const {
    const float* dy = panelData(in, p) + column;
    float* dx = panelData(out, p) + column;
    const float* x = op.activation == Activation::none ? nullptr : panelData(op.input, p) + column;
    for (int32_t row = first; row < last; ++row) {
      links.nextRow();
      Vec sum[NV];
      accumulate<NV, Whole>(dy, in.panel, links, offsets[row], offsets[row + 1], sum);
      storeGradient<NV>(dx, x, row, out.panel, sum, op.activation, op.accumulate);
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

/// What dense tiles cannot do: a zero times infinity or NaN is NaN, in rows without the link, too. Columns of the batch
/// that are not finite are multiplied again by the links alone, bit for bit as the sparse form does it.
struct NotFinite {
  const Spmm& op;

  void column(int32_t p, int32_t column) const {
    const Csr& w = op.weights;
    const float* x = panelData(op.input, p) + column;
    float* y = panelData(op.output, p) + column;
    const int64_t panel = op.input.panel;
    for (int32_t row = 0; row < w.rows; ++row) {
      Vec sums[2] = {};
      for (int32_t first = w.rowOffsets[row], k = first; k < w.rowOffsets[row + 1]; ++k) {
        Vec& sum = sums[(k - first) % 2];
        sum = mulAdd(splat(op.values[w.cscSlots[k]]), splat(x[w.columnIndices[k] * panel]), sum);
      }
      const Vec bias = splat(op.bias ? op.bias[row] : 0.f);
      y[row * int64_t{op.output.panel}] = activate(sums[0] + sums[1] + bias, op.activation)[0];
    }
  }

  /// Looks at 16 columns.
  void columns(int32_t p, int32_t first) const {
    constexpr int kVectors = 16 / W;
    const float* x = panelData(op.input, p) + first;
    Vec sum[kVectors] = {};
    for (int32_t f = 0; f < op.weights.cols; ++f) {
      for (int i = 0; i < kVectors; ++i) sum[i] += load(x + f * int64_t{op.input.panel} + i * W) * 0.f;
    }
    for (int i = 0; i < 16; ++i) {
      if (sum[i / W][i % W] != 0) column(p, first + i);
    }
  }
};

/// From so many panels on links are packed: each is then read that often, or twice as often.
constexpr int32_t kManyPanels = 3;

template <class Kernel>
Status sparseProduct(Cpu& cpu, const Kernel& kernel) {
  const Activations &in = kernel.in, &out = kernel.out;
  const int32_t* const offsets = kernel.offsets;
  const int32_t panels = out.panels(), rows = kernel.count;
  const int64_t chunks = chunksFor(cpu, (offsets[rows] + 4 * int64_t{rows}) * (liveColumns(out, 0) / 16), 1500);
  const auto each = [&](const auto& linksOf) {
    cpu.team.parallel(chunks * panels, [&](int64_t chunk, int) {
      const int32_t p = static_cast<int32_t>(chunk / chunks);
      const int32_t first = firstRow(offsets, rows, chunk % chunks, chunks),
                    last = firstRow(offsets, rows, chunk % chunks + 1, chunks);
      eachBlock(liveColumns(out, p), [&](auto width, int32_t column) {
        constexpr int NV = decltype(width)::value;
        const auto links = linksOf(p, first, column);
        if (in.panel == NV * W) kernel.template rows<NV, true>(links, p, first, last, column);
        else kernel.template rows<NV, false>(links, p, first, last, column);
      });
    });
  };
  if (isFar(in)) {
    each([&](int32_t, int32_t, int32_t) { return kernel.template links<true>(); });
    return {};
  }
  const auto asTheyLie = kernel.template links<false>();
  if (panels < kManyPanels || liveColumns(out, kManyPanels - 1) == 0) {
    each([&](int32_t, int32_t, int32_t) { return asTheyLie; });
    return {};
  }
  Scratch<Packed::Link> packed(cpu);
  HEBB_RETURN_IF_ERROR(packed.allocate(offsets[rows]));
  const int32_t bytes = 4 * in.panel, lines = (in.features * (in.panel / 16) + rows - 1) / rows;
  cpu.team.parallel(chunks, [&](int64_t chunk, int) {
    const int32_t first = firstRow(offsets, rows, chunk, chunks), last = firstRow(offsets, rows, chunk + 1, chunks);
    for (int32_t k = offsets[first]; k < offsets[last]; ++k)
      packed[k] = {kernel.indices[k] * bytes, asTheyLie.weight(k)};
  });
  each([&](int32_t p, int32_t first, int32_t column) {
    const bool ahead = column == 0 && p + 1 < panels;
    const float* const next = panelData(in, ahead ? p + 1 : p);
    return Packed{packed.data(), next + int64_t{first} * lines * 16, ahead ? lines : 0};
  });
  return {};
}

}  // namespace

Status spmm(Backend& backend, const Spmm& op) {
  const Csr& w = op.weights;
  if (Cpu& cpu = cpuOf(backend); isDense(cpu, w)) {
    cpu.team.parallel(int64_t{Tiles::kParts} * op.output.panels(), [&](int64_t chunk, int) {
      TiledForward{op}.part(static_cast<int32_t>(chunk / Tiles::kParts), chunk % Tiles::kParts);
    });
    cpu.team.parallel((op.output.columns() + 15) / 16, [&](int64_t block, int) {
      const int32_t perPanel = op.input.panel / 16;
      NotFinite{op}.columns(static_cast<int32_t>(block / perPanel), static_cast<int32_t>(block % perPanel) * 16);
    });
    return {};
  }
  return sparseProduct(cpuOf(backend), SparseForward{op});
}

Status spmmTransposed(Backend& backend, const SpmmTransposed& op) {
  return sparseProduct(cpuOf(backend), SparseBackward{op});
}

}  // namespace hebb::cpu::HEBB_LEVEL
