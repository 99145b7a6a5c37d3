// Chooses new links. Rows are scored one after the other and only candidates that can still win are held: each thread keeps the best ones it has
// seen, at most twice as many as are wanted. No array of rows x cols exists, and as ranks are tied to places, neither the
// number of threads nor their speed changes the choice.
#include "hebb/regrow.h"

#include <vector>

#include "distinct.h"
#include "ranks.h"
#include "row_scorer.h"

namespace hebb::cpu::HEBB_LEVEL {
namespace {

struct Candidate {
  uint64_t rank;
  int32_t row, col;
};

bool better(const Candidate& a, const Candidate& b) {
  if (a.rank != b.rank) return a.rank > b.rank;
  return a.row != b.row ? a.row < b.row : a.col < b.col;
}

bool inOrder(const Candidate& a, const Candidate& b) { return a.row != b.row ? a.row < b.row : a.col < b.col; }

/// The best candidates that one thread has seen.
struct Best {
  Candidate* at = nullptr;
  int64_t size = 0, wanted = 0, room = 0;
  uint64_t floor = 0;  // ranks below it cannot win

  void add(const Candidate& candidate) {
    at[size++] = candidate;
    if (size == room) shrink();
  }
  void shrink() {
    if (size <= wanted) return;
    std::nth_element(at, at + wanted - 1, at + size, better);
    size = wanted;
    floor = std::max(floor, at[wanted - 1].rank);
  }
};

/// The kept links in both views.
struct KeptTopology {
  Scratch<int32_t> rowOffsets, columnIndices, columnOffsets, rowIndices;
  int64_t links = 0;

  explicit KeptTopology(Backend& backend) : rowOffsets(backend), columnIndices(backend), columnOffsets(backend), rowIndices(backend) {}

  Status build(const Csr& w, const uint8_t* keep) {
    for (int32_t k = 0; k < w.rowOffsets[w.rows]; ++k) links += keep[k];
    HEBB_RETURN_IF_ERROR(rowOffsets.allocate(int64_t{w.rows} + 1));
    HEBB_RETURN_IF_ERROR(columnIndices.allocate(links));
    HEBB_RETURN_IF_ERROR(columnOffsets.allocate(int64_t{w.cols} + 1));
    HEBB_RETURN_IF_ERROR(rowIndices.allocate(links));
    int32_t n = 0;
    for (int32_t r = 0; r < w.rows; ++r) {
      rowOffsets[r] = n;
      for (int32_t k = w.rowOffsets[r]; k < w.rowOffsets[r + 1]; ++k) {
        if (keep[k]) columnIndices[n++] = w.columnIndices[k];
      }
    }
    rowOffsets[w.rows] = n;
    n = 0;
    for (int32_t c = 0; c < w.cols; ++c) {
      columnOffsets[c] = n;
      for (int32_t k = w.columnOffsets[c]; k < w.columnOffsets[c + 1]; ++k) {
        if (keep[w.csrSlots[k]]) rowIndices[n++] = w.rowIndices[k];
      }
    }
    columnOffsets[w.cols] = n;
    return {};
  }
};

/// Appends `count` missing links that are not in `chosen` (sorted), drawn uniformly: the free cells are numbered row by row.
void fillUniformly(const Csr& w, const KeptTopology& kept, std::vector<Candidate>& chosen, int64_t count, const Draw& draw) {
  const int64_t taken = kept.links + static_cast<int64_t>(chosen.size());
  const int64_t range = int64_t{w.rows} * w.cols - taken;
  const std::vector<int64_t> ranks = distinctRanks(count, range, draw.seed, draw.step, draw.purpose);
  const size_t old = chosen.size();
  size_t next = 0, c = 0;
  int64_t before = 0;  // free cells in earlier rows
  for (int32_t r = 0; r < w.rows && next < ranks.size(); ++r) {
    const size_t firstChosen = c;
    while (c < old && chosen[c].row == r) ++c;
    int32_t a = kept.rowOffsets[r];
    const int32_t aEnd = kept.rowOffsets[r + 1];
    size_t b = firstChosen;
    const int64_t free = w.cols - (aEnd - a) - static_cast<int64_t>(c - firstChosen);
    // The column of the row's n-th free cell is n plus the occupied columns up to it.
    int64_t occupied = 0;
    for (; next < ranks.size() && ranks[next] < before + free; ++next) {
      const int64_t n = ranks[next] - before;
      for (;;) {
        const int32_t x = a < aEnd ? kept.columnIndices[a] : INT32_MAX, y = b < c ? chosen[b].col : INT32_MAX;
        const int32_t first = std::min(x, y);
        if (first == INT32_MAX || first > n + occupied) break;
        ++occupied;
        if (x < y) ++a;
        else ++b;
      }
      chosen.push_back({0, r, static_cast<int32_t>(n + occupied)});
    }
    before += free;
  }
  std::inplace_merge(chosen.begin(), chosen.begin() + static_cast<ptrdiff_t>(old), chosen.end(), inOrder);
}

}  // namespace

Status regrow(Backend& backend, const Regrow& op) {
  Cpu& cpu = cpuOf(backend);
  const Csr& w = op.links;
  KeptTopology kept(backend);
  HEBB_RETURN_IF_ERROR(kept.build(w, op.changes.keep));
  const int64_t target = static_cast<int64_t>(*op.count), wanted = target - kept.links;
  if (target > w.capacity || target > int64_t{w.rows} * w.cols) {
    return {Code::invalidArgument, "Expected at most " + std::to_string(std::min(int64_t{w.capacity}, int64_t{w.rows} * w.cols)) + " links in layer " +
                                       std::to_string(op.layer) + ", got " + std::to_string(target)};
  }
  *op.changes.newCount = 0;
  if (wanted <= 0) return {};
  const uint32_t update = static_cast<uint32_t>(*op.update), layer = static_cast<uint32_t>(op.layer);
  std::vector<Candidate> chosen;
  chosen.reserve(static_cast<size_t>(wanted));

  if (op.predictor != LinkPredictor::none) {
    RowScorer scorer(cpu, {w.rows, w.cols, kept.rowOffsets.data(), kept.columnIndices.data(), kept.columnOffsets.data(), kept.rowIndices.data()}, op.predictor);
    HEBB_RETURN_IF_ERROR(scorer.prepare());
    const int threads = cpu.team.size();
    const int64_t room = 2 * wanted + 256;
    Scratch<Candidate> memory(backend);
    HEBB_RETURN_IF_ERROR(memory.allocate(room * threads));
    std::vector<Best> best(static_cast<size_t>(threads));
    for (int t = 0; t < threads; ++t) best[static_cast<size_t>(t)] = {memory.data() + room * t, 0, wanted, room, 0};
    const Draw draw{op.seed, update, purposeWord(Purpose::regrow, layer)};
    const bool soft = op.selection == Selection::sample;
    std::atomic<uint64_t> floor{0};  // the highest of the threads' floors
    const int64_t chunks = chunksFor(cpu, w.rows, 4) * 8;
    cpu.team.parallel(chunks, [&](int64_t chunk, int rank) {
      Best& mine = best[static_cast<size_t>(rank)];
      for (int64_t i = w.rows * chunk / chunks; i < w.rows * (chunk + 1) / chunks && !backend.stop; ++i) {
        mine.floor = std::max(mine.floor, floor.load(std::memory_order_relaxed));
        scorer.row(static_cast<int32_t>(i), rank, [&](int32_t first, int32_t last, const float* scores) {
          for (int32_t j = first; j < last; j += W) {
            const Vec score = load(scores + j);
            uint32_t lanes = lanesOf(score > Vec{});
            if (!lanes) continue;
            UintVec columns, random, tie;
            for (int n = 0; n < W; ++n) columns[n] = static_cast<uint32_t>(j + n);
            Vec key;
            keysOf(score, static_cast<uint32_t>(i) - UintVec{}, columns, draw, soft, 1.f, key, random, tie);
            if (mine.floor) lanes &= lanesOf(key >= splat(floatOfOrdered(static_cast<uint32_t>(mine.floor >> 32))));
            for (; lanes; lanes &= lanes - 1) {
              const int n = __builtin_ctz(lanes);
              const uint64_t value = rankOf(key[n], tie[n]);
              if (value >= mine.floor) mine.add({value, static_cast<int32_t>(i), j + n});
            }
          }
        });
        for (uint64_t seen = floor.load(std::memory_order_relaxed); mine.floor > seen && !floor.compare_exchange_weak(seen, mine.floor);) {
        }
      }
    });
    if (backend.stop) return {Code::aborted, "stopped while predicting links"};
    for (Best& part : best) {
      part.shrink();
      chosen.insert(chosen.end(), part.at, part.at + part.size);
    }
    if (static_cast<int64_t>(chosen.size()) > wanted) {
      std::nth_element(chosen.begin(), chosen.begin() + (wanted - 1), chosen.end(), better);
      chosen.resize(static_cast<size_t>(wanted));
    }
    std::sort(chosen.begin(), chosen.end(), inOrder);
  }
  if (static_cast<int64_t>(chosen.size()) < wanted) {
    fillUniformly(w, kept, chosen, wanted - static_cast<int64_t>(chosen.size()), {op.seed, update, purposeWord(Purpose::fill, layer)});
  }
  for (size_t n = 0; n < chosen.size(); ++n) {
    op.changes.newRows[n] = chosen[n].row;
    op.changes.newColumns[n] = chosen[n].col;
  }
  *op.changes.newCount = static_cast<int32_t>(chosen.size());
  return {};
}

}  // namespace hebb::cpu::HEBB_LEVEL
