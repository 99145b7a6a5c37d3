// What growing by scores and by gradients share: the kept topology, the best candidates that threads have seen, and how
// new links are written. As ranks are tied to places, neither the number of threads nor their speed changes the choice.
//
// Once there is a floor that a candidate must reach, nearly all are refused by one comparison. Where the choice is
// sampled it takes the first word of Philox too: -log(1 - v) >= v, so a key of log2(score) - log2(E) can only reach the
// floor if v <= score 2^-floor. Logarithms and the tie word are for the others. A histogram of ranks raises the floor
// as candidates are seen.
#pragma once

#include <algorithm>
#include <vector>

#include "distinct.h"
#include "ranks.h"
#include "row_scorer.h"

namespace hebb::cpu::HEBB_LEVEL {

struct Candidate {
  uint64_t rank;
  int32_t row, col;
};

inline bool better(const Candidate& a, const Candidate& b) {
  if (a.rank != b.rank) return a.rank > b.rank;
  return a.row != b.row ? a.row < b.row : a.col < b.col;
}

/// The best candidates that one thread has seen.
class Best {
 public:
  Best(const Draw& draw, bool soft, Candidate* memory, int64_t wanted, int64_t room)
      : draw_(draw), soft_(soft), at_(memory), wanted_(wanted), room_(room) {}

  /// Ranks below it cannot win.
  uint64_t floor() const { return floor_; }
  void raise(uint64_t floor) {
    if (floor <= floor_) return;
    floor_ = floor;
    key_ = floatOfOrdered(static_cast<uint32_t>(floor >> 32));
    // For half the first word, which fits into a signed lane. The margin covers the rounding of v and of three
    // logarithms many times.
    scale_ = key_ < 64 ? static_cast<float>(1.001 * 0x1p31) * std::exp2(-key_) : std::numeric_limits<float>::infinity();
  }

  /// Takes `n` scores of row `row`; columnsAt(j) are the columns of the scores from j on. Scores go on with zeros to
  /// the end of a vector.
  template <class Columns>
  HEBB_INLINE void offer(int32_t row, int64_t n, const float* scores, const Columns& columnsAt) {
    const PhiloxRow philox(draw_.seed, static_cast<uint32_t>(row), draw_.step, draw_.purpose);
    for (int64_t j = 0; j < n; j += W) {
      const Vec score = load(scores + j);
      IntVec passes = score > Vec{};
      const UintVec columns = columnsAt(j);
      if (soft_) passes &= __builtin_convertvector((IntVec)(philox.word(columns) >> 1), Vec) <= score * splat(scale_);
      else if (floor_) passes &= score >= splat(key_);
      const uint32_t lanes = lanesOf(passes);
      if (!lanes) continue;
      pack(static_cast<uint32_t>(row) - UintVec{}, lanes, rows_ + pending_);
      pack(columns, lanes, columns_ + pending_);
      pending_ += pack((UintVec)score, lanes, scores_ + pending_);
      if (pending_ >= W) rank(W);
    }
  }

  /// Reduces to the best ones wanted, and returns how many there are.
  int64_t finish() {
    rank(pending_);
    shrink();
    return size_;
  }
  const Candidate* begin() const { return at_; }

 private:
  /// Ranks the first `n` of those pending, at most W.
  void rank(int n) {
    UintVec rows, columns, scores, random, tie;
    Vec key;
    __builtin_memcpy(&rows, rows_, sizeof rows);
    __builtin_memcpy(&columns, columns_, sizeof columns);
    __builtin_memcpy(&scores, scores_, sizeof scores);
    keysOf((Vec)scores, rows, columns, draw_, soft_, 1.f, key, random, tie);
    uint32_t lanes = n >= W ? (1u << W) - 1 : (1u << n) - 1;
    if (floor_) lanes &= lanesOf(key >= splat(key_));
    for (; lanes; lanes &= lanes - 1) {
      const int lane = __builtin_ctz(lanes);
      const uint64_t value = rankOf(key[lane], tie[lane]);
      if (value < floor_) continue;
      at_[size_++] = {value, static_cast<int32_t>(rows[lane]), static_cast<int32_t>(columns[lane])};
      const uint32_t bin = static_cast<uint32_t>(value >> kShift);
      ++bins_[bin];
      above_ += bin > bin_;
      if (above_ >= wanted_) raiseToBin();
      if (size_ == room_) shrink();
    }
    pending_ -= n;
    __builtin_memcpy(rows_, rows_ + W, sizeof rows);
    __builtin_memcpy(columns_, columns_ + W, sizeof columns);
    __builtin_memcpy(scores_, scores_ + W, sizeof scores);
  }
  /// The highest bin that as many candidates as are wanted have reached is a floor.
  void raiseToBin() {
    while (above_ >= wanted_) above_ -= bins_[++bin_];
    raise(static_cast<uint64_t>(bin_) << kShift);
  }
  void shrink() {
    if (size_ <= wanted_) return;
    std::nth_element(at_, at_ + wanted_ - 1, at_ + size_, better);
    size_ = wanted_;
    raise(at_[wanted_ - 1].rank);
  }

  const Draw draw_;
  const bool soft_;
  Candidate* const at_;
  const int64_t wanted_, room_;
  int64_t size_ = 0;
  uint64_t floor_ = 0;
  float key_ = 0, scale_ = std::numeric_limits<float>::infinity();  // of the floor
  // Candidates seen, by the upper bits of their ranks: an eighth of an octave of the score each.
  static constexpr int kShift = 52;
  uint32_t bins_[1 << (64 - kShift)] = {}, bin_ = 0;
  int64_t above_ = 0;  // in bins above bin_
  int pending_ = 0;
  alignas(64) uint32_t rows_[3 * W] = {}, columns_[3 * W] = {}, scores_[3 * W] = {};  // not ranked yet; scores as bits
};

/// The kept links in both views.
struct KeptTopology {
  Scratch<int32_t> rowOffsets, columnIndices, columnOffsets, rowIndices;
  int64_t links = 0;

  explicit KeptTopology(Backend& backend)
      : rowOffsets(backend), columnIndices(backend), columnOffsets(backend), rowIndices(backend) {}

  Status build(Cpu& cpu, const Csr& w, const uint8_t* keep) {
    HEBB_RETURN_IF_ERROR(rowOffsets.allocate(int64_t{w.rows} + 1));
    HEBB_RETURN_IF_ERROR(columnOffsets.allocate(int64_t{w.cols} + 1));
    // A view in two passes: chunks count what they keep, then copy it.
    const auto view = [&](int32_t nodes, const int32_t* offsets, const int32_t* indices, const int32_t* slots,
                          Scratch<int32_t>& keptOffsets, Scratch<int32_t>& keptIndices) -> Status {
      const int64_t chunks = chunksFor(cpu, offsets[nodes], 16384);
      std::vector<int32_t> before(static_cast<size_t>(chunks) + 1, 0);
      const auto stays = [&](int32_t k) { return keep[slots ? slots[k] : k]; };
      cpu.team.parallel(chunks, [&](int64_t chunk, int) {
        int32_t n = 0;
        for (int32_t k = offsets[firstRow(offsets, nodes, chunk, chunks)],
                     end = offsets[firstRow(offsets, nodes, chunk + 1, chunks)];
             k < end; ++k)
          n += stays(k);
        before[static_cast<size_t>(chunk) + 1] = n;
      });
      for (size_t c = 1; c < before.size(); ++c) before[c] += before[c - 1];
      links = before.back();
      HEBB_RETURN_IF_ERROR(keptIndices.allocate(links + 1));
      cpu.team.parallel(chunks, [&](int64_t chunk, int) {
        int32_t n = before[static_cast<size_t>(chunk)];
        const int32_t end = before[static_cast<size_t>(chunk) + 1];
        for (int32_t r = firstRow(offsets, nodes, chunk, chunks), last = firstRow(offsets, nodes, chunk + 1, chunks);
             r < last; ++r) {
          keptOffsets[r] = n;
          // Written whether it stays or not, and overwritten then, but not into the next chunk's place.
          for (int32_t k = offsets[r]; k < offsets[r + 1] && n < end; ++k) {
            keptIndices[n] = indices[k];
            n += stays(k);
          }
        }
      });
      keptOffsets[nodes] = static_cast<int32_t>(links);
      return {};
    };
    HEBB_RETURN_IF_ERROR(view(w.rows, w.rowOffsets, w.columnIndices, w.cscSlots, rowOffsets, columnIndices));
    return view(w.cols, w.columnOffsets, w.rowIndices, nullptr, columnOffsets, rowIndices);
  }
};

/// Chosen links by row, then column.
struct Chosen {
  Scratch<int32_t> offsets, columns;
  int64_t size = 0;
  explicit Chosen(Backend& backend) : offsets(backend), columns(backend) {}
};

/// The top k of the missing links that have a score: each thread keeps the best ones it has seen, at most twice as many
/// as are wanted.
class TopK {
 public:
  explicit TopK(Cpu& cpu) : cpu_(cpu), memory_(cpu) {}

  Status prepare(const Draw& draw, bool soft, int64_t wanted) {
    const int64_t threads = cpu_.team.size(), room = 2 * wanted + 256;
    wanted_ = wanted;
    HEBB_RETURN_IF_ERROR(memory_.allocate(room * threads));
    for (int64_t t = 0; t < threads; ++t) best_.emplace_back(draw, soft, memory_.data() + room * t, wanted, room);
    return {};
  }

  /// Calls body(chunk, rank, best): candidates are offered to `best`.
  template <class Body>
  void eachChunk(int64_t chunks, const Body& body) {
    cpu_.team.parallel(chunks, [&](int64_t chunk, int rank) {
      if (cpu_.stop) return;
      Best& mine = best_[static_cast<size_t>(rank)];
      mine.raise(floor_.load(std::memory_order_relaxed));
      body(chunk, rank, mine);
      for (uint64_t seen = floor_.load(std::memory_order_relaxed);
           mine.floor() > seen && !floor_.compare_exchange_weak(seen, mine.floor());) {
      }
    });
  }

  /// The winners.
  Status finish(int32_t rows, Chosen& chosen) {
    Candidate* const all = memory_.data();
    int64_t size = 0;
    for (Best& part : best_) {
      const int64_t n = part.finish();
      std::copy(part.begin(), part.begin() + n, all + size);
      size += n;
    }
    if (size > wanted_) std::nth_element(all, all + (wanted_ - 1), all + size, better);
    chosen.size = size = std::min(size, wanted_);
    HEBB_RETURN_IF_ERROR(chosen.columns.allocate(size));
    int32_t* offsets = chosen.offsets.data();
    for (int64_t n = 0; n < size; ++n) ++offsets[all[n].row + 1];
    for (int32_t r = 0; r < rows; ++r) offsets[r + 1] += offsets[r];
    for (int64_t n = 0; n < size; ++n) chosen.columns[offsets[all[n].row]++] = all[n].col;
    for (int32_t r = rows; r > 0; --r) offsets[r] = offsets[r - 1];
    offsets[0] = 0;
    const int64_t chunks = chunksFor(cpu_, size, 4096);
    cpu_.team.parallel(chunks, [&](int64_t chunk, int) {
      for (int32_t r = firstRow(offsets, rows, chunk, chunks), last = firstRow(offsets, rows, chunk + 1, chunks);
           r < last; ++r) {
        std::sort(chosen.columns.data() + offsets[r], chosen.columns.data() + offsets[r + 1]);
      }
    });
    return {};
  }

 private:
  Cpu& cpu_;
  Scratch<Candidate> memory_;
  std::vector<Best> best_;
  int64_t wanted_ = 0;
  std::atomic<uint64_t> floor_{0};  // the highest of the threads' floors
};

/// Writes the chosen links, and between them the `fill` free cells of the given ranks (ascending); free cells are
/// numbered row by row.
inline void writeNew(Cpu& cpu, const Topology& kept, const Chosen& chosen, const int64_t* ranks, int64_t fill,
                     const LinkChanges& changes) {
  const int64_t chunks = chunksFor(cpu, chosen.size + fill, 4096);
  cpu.team.parallel(chunks, [&](int64_t chunk, int) {
    const int64_t firstOf = kept.rows * chunk / chunks, last = kept.rows * (chunk + 1) / chunks;
    const auto freeBefore = [&](int64_t row) { return row * kept.cols - kept.rowOffsets[row] - chosen.offsets[row]; };
    int64_t next = std::lower_bound(ranks, ranks + fill, freeBefore(firstOf)) - ranks;
    int64_t out = chosen.offsets[firstOf] + next;
    const auto put = [&](int64_t row, int64_t column) {
      changes.newRows[out] = static_cast<int32_t>(row);
      changes.newColumns[out++] = static_cast<int32_t>(column);
    };
    for (int64_t r = firstOf; r < last; ++r) {
      int32_t a = kept.rowOffsets[r], b = chosen.offsets[r];
      const int32_t aEnd = kept.rowOffsets[r + 1], bEnd = chosen.offsets[r + 1];
      const int64_t before = freeBefore(r), after = freeBefore(r + 1);
      // The column of the row's n-th free cell is n plus the occupied columns up to it.
      for (int64_t occupied = 0; next < fill && ranks[next] < after; ++next) {
        const int64_t n = ranks[next] - before;
        for (;; ++occupied) {
          const int32_t x = a < aEnd ? kept.columnIndices[a] : INT32_MAX, y = b < bEnd ? chosen.columns[b] : INT32_MAX;
          if (std::min(x, y) == INT32_MAX || std::min(x, y) > n + occupied) break;
          if (x < y) {
            ++a;
          } else {
            put(r, y);
            ++b;
          }
        }
        put(r, n + occupied);
      }
      for (; b < bEnd; ++b) put(r, chosen.columns[b]);
    }
  });
}

/// The outline of growing: `race`(kept topology, links wanted, draw, chosen) chooses among the missing links with a
/// score, unless scoreless; what is then wanted still is drawn uniformly among the others. Op: Regrow or
/// RegrowByGradient.
template <class Op, class Race>
Status grow(Backend& backend, const Op& op, bool scored, const Race& race) {
  Cpu& cpu = cpuOf(backend);
  const Csr& w = op.links;
  KeptTopology kept(backend);
  HEBB_RETURN_IF_ERROR(kept.build(cpu, w, op.changes.keep));
  const int64_t target = static_cast<int64_t>(*op.count), wanted = target - kept.links;
  if (target > w.capacity || target > int64_t{w.rows} * w.cols) {
    return {Code::invalidArgument,
            "Expected at most " + std::to_string(std::min(int64_t{w.capacity}, int64_t{w.rows} * w.cols)) +
                " links in layer " + std::to_string(op.layer) + ", got " + std::to_string(target)};
  }
  *op.changes.newCount = 0;
  if (wanted <= 0) return {};
  const uint32_t update = static_cast<uint32_t>(*op.update), layer = static_cast<uint32_t>(op.layer);
  const Topology links{w.rows,
                       w.cols,
                       kept.rowOffsets.data(),
                       kept.columnIndices.data(),
                       kept.columnOffsets.data(),
                       kept.rowIndices.data()};
  Chosen chosen(backend);
  HEBB_RETURN_IF_ERROR(chosen.offsets.allocate(int64_t{w.rows} + 1));
  if (scored)
    HEBB_RETURN_IF_ERROR(race(links, wanted, Draw{op.seed, update, purposeWord(kRegrowDraws, layer)}, chosen));
  const int64_t fill = wanted - chosen.size, free = int64_t{w.rows} * w.cols - kept.links - chosen.size;
  Scratch<int64_t> ranks(backend);
  HEBB_RETURN_IF_ERROR(ranks.allocate(fill));
  distinctRanks(fill, free, op.seed, update, purposeWord(kFillDraws, layer), ranks.data());
  if (backend.stop) return {Code::aborted, "stopped while choosing links"};
  writeNew(cpu, links, chosen, ranks.data(), fill, op.changes);
  *op.changes.newCount = static_cast<int32_t>(wanted);
  return {};
}

}  // namespace hebb::cpu::HEBB_LEVEL
