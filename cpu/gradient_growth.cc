// Chooses new links by the dense gradient dY X^T, in tiles of 4 rows x 64 columns that exist for as long as they are
// looked at. A strip of 64 columns of X is transposed to [column of the batch][64], and each row of dY then takes one
// multiply-add for every lane and column of the batch, in the order of these: the sums are those of CUDA, bit for bit,
// where multiply and add are fused. Existing links are known by a word of 64 bits for each row.
//
// Roofline, M x N, batch B: M N B multiply-adds, and M N comparisons. Scratch: for each thread 256 B bytes of X and 8
// bytes for each of its rows, beside the candidates (growth.h).
#include "hebb/gradient_growth.h"

#include <limits>

#include "growth.h"

namespace hebb::cpu::HEBB_LEVEL {
namespace {

class GradientScorer {
 public:
  static constexpr int32_t kStrip = 64;

  GradientScorer(Cpu& cpu, const RegrowByGradient& op)
      : cpu_(cpu), op_(op), columns_(op.input.columns()), transposed_(cpu), taken_(cpu) {}

  Status prepare() {
    const int64_t strips = (op_.links.cols + kStrip - 1) / kStrip;
    // Few strips of many rows are cut again, so that all threads have work.
    parts_ = std::max<int64_t>(
        1, std::min<int64_t>(op_.links.rows / 256,
                             chunksFor(cpu_, int64_t{op_.links.rows} * op_.links.cols, 65536) / strips));
    rowsOfPart_ = (op_.links.rows + parts_ - 1) / parts_;
    chunks_ = strips * parts_;
    HEBB_RETURN_IF_ERROR(transposed_.allocate(int64_t{columns_} * kStrip * cpu_.team.size()));
    return taken_.allocate(rowsOfPart_ * cpu_.team.size());
  }

  int64_t chunks() const { return chunks_; }

  /// Calls body(row, first column, gradients' magnitudes, n) for a chunk, rows ascending, n at most 64; existing links
  /// read 0, and so does what follows up to
  /// 64. A magnitude that is not finite is noted.
  template <class Body>
  void chunk(int64_t chunk, int rank, const Body& body) {
    const int32_t firstColumn = static_cast<int32_t>(chunk / parts_ * kStrip),
                  n = std::min(kStrip, op_.links.cols - firstColumn);
    const int32_t first = static_cast<int32_t>(chunk % parts_ * rowsOfPart_),
                  last = static_cast<int32_t>(std::min<int64_t>(op_.links.rows, first + rowsOfPart_));
    float* transposed = transposed_.data() + int64_t{columns_} * kStrip * rank;
    uint64_t* taken = taken_.data() + rowsOfPart_ * rank - first;
    transpose(firstColumn, n, transposed);
    eachKept(firstColumn, n, first, last, [&](int32_t row, int32_t lane) { taken[row] |= uint64_t{1} << lane; });
    alignas(64) float tile[kRows][kStrip];
    for (int32_t row = first; row < last && !cpu_.stop; row += kRows) {
      const int rows = std::min(kRows, last - row);
      if (rows == kRows) multiply<kRows>(row, transposed, tile);
      else {
        for (int r = 0; r < rows; ++r) multiply<1>(row + r, transposed, tile + r);
      }
      for (int r = 0; r < rows; ++r) {
        for (uint64_t bits = taken[row + r]; bits; bits &= bits - 1) tile[r][__builtin_ctzll(bits)] = 0;
        IntVec odd{};
        for (int j = 0; j < kStrip; j += W) odd |= ~(load(tile[r] + j) <= splat(std::numeric_limits<float>::max()));
        if (lanesOf(odd)) note(row + r, firstColumn, tile[r], n);
        body(row + r, firstColumn, tile[r], n);
      }
    }
    eachKept(firstColumn, n, first, last, [&](int32_t row, int32_t) { taken[row] = 0; });
  }

  /// The first missing link whose gradient is not finite, if there is one.
  Status failure() const {
    if (bad_ == UINT64_MAX) return {};
    const uint64_t cols = static_cast<uint64_t>(op_.links.cols);
    return {Code::nonFinite, "Expected finite gradients, got NaN or infinity for the link from neuron " +
                                 std::to_string(bad_ % cols) + " to neuron " + std::to_string(bad_ / cols) +
                                 " of layer " + std::to_string(op_.layer) +
                                 ". Lower the learning rate or look at the data."};
  }

 private:
  static constexpr int kRows = 4, NV = W == 16 ? 4 : 2;

  void transpose(int32_t firstColumn, int32_t n, float* transposed) const {
    const Activations& x = op_.input;
    for (int32_t lane = 0; lane < kStrip; ++lane) {
      for (int32_t p = 0, c = 0; c < columns_; ++p) {
        const float* from = panelData(x, p) + int64_t{firstColumn + lane} * x.panel;
        for (int32_t b = 0, live = std::min(x.panel, columns_ - c); b < live; ++b, ++c)
          transposed[int64_t{c} * kStrip + lane] = lane < n ? from[b] : 0;
      }
    }
  }

  /// Calls visit(row, lane) for the kept links of a chunk.
  template <class Visit>
  void eachKept(int32_t firstColumn, int32_t n, int32_t first, int32_t last, const Visit& visit) const {
    const Csr& w = op_.links;
    for (int32_t lane = 0; lane < n; ++lane) {
      const int32_t *begin = w.rowIndices + w.columnOffsets[firstColumn + lane],
                    *end = w.rowIndices + w.columnOffsets[firstColumn + lane + 1];
      for (const int32_t* k = first ? std::lower_bound(begin, end, first) : begin; k < end && *k < last; ++k) {
        if (op_.changes.keep[k - w.rowIndices]) visit(*k, lane);
      }
    }
  }

  /// tile[r][lane] = |gradient| of R rows.
  template <int R>
  void multiply(int32_t row, const float* transposed, float (*tile)[kStrip]) const {
    const Activations& dy = op_.outputGradient;
    for (int j = 0; j < kStrip; j += NV * W) {
      Vec sum[R][NV];
      for (int r = 0; r < R; ++r) {
        for (int i = 0; i < NV; ++i) sum[r][i] = Vec{};
      }
      const float* x = transposed + j;
      for (int32_t p = 0, c = 0; c < columns_; ++p) {
        const float* d = panelData(dy, p) + int64_t{row} * dy.panel;
        const int32_t live = std::min(dy.panel, columns_ - c);
        for (int32_t b = 0; b < live; ++b, x += kStrip) {
          Vec v[NV];
          for (int i = 0; i < NV; ++i) v[i] = load(x + i * W);
          for (int r = 0; r < R; ++r) {
            const Vec coefficient = splat(d[int64_t{r} * dy.panel + b]);
            for (int i = 0; i < NV; ++i) sum[r][i] = mulAdd(coefficient, v[i], sum[r][i]);
          }
        }
        c += live;
      }
      for (int r = 0; r < R; ++r) {
        for (int i = 0; i < NV; ++i) store(tile[r] + j + i * W, (Vec)((IntVec)sum[r][i] & 0x7fffffff));
      }
    }
  }

  void note(int32_t row, int32_t firstColumn, const float* magnitudes, int32_t n) {
    for (int32_t lane = 0; lane < n; ++lane) {
      if (magnitudes[lane] <= std::numeric_limits<float>::max()) continue;
      const uint64_t cell = static_cast<uint64_t>(row) * static_cast<uint64_t>(op_.links.cols) +
                            static_cast<uint64_t>(firstColumn + lane);
      for (uint64_t seen = bad_; cell < seen && !bad_.compare_exchange_weak(seen, cell);) {
      }
      return;
    }
  }

  Cpu& cpu_;
  const RegrowByGradient& op_;
  const int32_t columns_;
  int64_t parts_ = 1, rowsOfPart_ = 0, chunks_ = 0;
  Scratch<float> transposed_;  // [threads][columns][64]
  Scratch<uint64_t> taken_;    // [threads][rows of a part], zero between chunks
  std::atomic<uint64_t> bad_{UINT64_MAX};
};

Status race(Cpu& cpu, const RegrowByGradient& op, int64_t wanted, const Draw& draw, Chosen& chosen) {
  TopK topK(cpu);
  HEBB_RETURN_IF_ERROR(topK.prepare(draw, false, wanted));
  GradientScorer scorer(cpu, op);
  HEBB_RETURN_IF_ERROR(scorer.prepare());
  UintVec lanes;
  for (int lane = 0; lane < W; ++lane) lanes[lane] = static_cast<uint32_t>(lane);
  topK.eachChunk(scorer.chunks(), [&](int64_t chunk, int rank, Best& mine) {
    scorer.chunk(chunk, rank, [&](int32_t row, int32_t first, const float* magnitudes, int32_t n) {
      mine.offer(row, n, magnitudes, [&](int64_t j) { return lanes + static_cast<uint32_t>(first + j); });
    });
  });
  if (cpu.stop) return {Code::aborted, "stopped while looking for large gradients"};
  HEBB_RETURN_IF_ERROR(scorer.failure());
  return topK.finish(op.links.rows, chosen);
}

}  // namespace

Status regrowByGradient(Backend& backend, const RegrowByGradient& op) {
  return grow(backend, op, true, [&](const Topology&, int64_t wanted, const Draw& draw, Chosen& chosen) {
    return race(cpuOf(backend), op, wanted, draw, chosen);
  });
}

}  // namespace hebb::cpu::HEBB_LEVEL
