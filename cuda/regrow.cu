// Chooses new links. Nothing that the device finds steers a launch: memory is sized by capacities, kernels read counts where they lie.
//
//   1. the kept links in both views, by prefix sums over their flags
//   2. the race: every missing link with a score has a rank (ranks.cuh), and the best ones win. Scores are never stored: rows are scored
//      (row_scorer.cuh, path_scorer.cuh) once for each digit of the smallest rank that may win, until no more candidates are left than fit the list, and once more
//      to list these; mostly three times. A radix select over the list finds the winners, and a sort brings them into the order of their cells.
//   3. what scores do not fill is drawn among the free cells as cpu/distinct.cc draws it: the first distinct numbers of one stream of
//      Philox. All draws that may be needed are made at once: a stable sort finds the first one of each number, a prefix sum in the order of the
//      draws counts them. When more than half of the range is to be drawn, what stays out is.
//   4. the n-th free cell is searched in the links of its row, and both kinds of new links are merged
//
// Roofline, C capacity, S the cost of scoring (row_scorer.cuh, path_scorer.cuh): 3 S for a predictor; 100 C bytes for the kept views; for the race's list 16 (C + 65536) and
// a sort of it; for draws 60 C and a sort of 1.5 C pairs, only as far as there are any to make.
#include "hebb/regrow.h"

#include "launch.cuh"
#include "path_scorer.cuh"
#include "ranks.cuh"
#include "scan.h"
#include "search.cuh"
#include "sort.h"

namespace hebb::cuda {
namespace {

constexpr const char* kName = "regrow";
constexpr int64_t kMostLinks = int64_t{1} << 30;   // places that draws and candidates have must be numbers of 32 bits
constexpr int64_t kMoreCandidates = 65536;         // that the race lists, beside one for each link that it may want
constexpr int64_t kRaceBlocks = 2048;

/// What an update is to do, in device memory.
struct Plan {
  int32_t wanted;      // links to grow
  int32_t candidates;  // listed by the race
  int32_t winners;     // listed of those, with those that share the smallest winning rank
  int32_t chosen;      // links that won the race
  int32_t fill;        // links to draw
  int32_t draws;       // numbers to draw for that, with repeats
  int32_t distinct;    // different numbers to take from these
  int32_t complement;  // whether they are those that stay out
  int64_t range;       // free cells to draw from
};

// ---- the kept links

__global__ void __launch_bounds__(kBlock) markKept(Csr links, const uint8_t* keep, int32_t* inRows, int32_t* inColumns) {
  const int64_t k = element();
  if (k >= links.capacity) return;
  const bool there = k < links.rowOffsets[links.rows];
  inRows[k] = there && keep[links.cscSlots[k]];
  inColumns[k] = there && keep[k];
}

/// One view: offsets and indices of the kept links; `before` are prefix sums over the flags.
__global__ void __launch_bounds__(kBlock) packKept(const int32_t* offsets, const int32_t* indices, int32_t nodes, const int32_t* before, int32_t* keptOffsets,
                                                   int32_t* keptIndices) {
  const int64_t at = element();
  if (at <= nodes) keptOffsets[at] = before[offsets[at]];
  if (at < offsets[nodes] && before[at + 1] > before[at]) keptIndices[before[at]] = indices[at];
}

__global__ void plan(Regrow op, const int32_t* keptOffsets, Plan* plan, Failure* failure) {
  const int64_t cells = static_cast<int64_t>(op.links.rows) * op.links.cols, most = op.links.capacity < cells ? op.links.capacity : cells;
  const int64_t target = static_cast<int64_t>(*op.count), wanted = target - keptOffsets[op.links.rows];
  plan->wanted = 0;
  if (failed(failure)) return;
  if (target > most) {
    *failure = {Problem::regrownLinks, static_cast<int32_t>(most), 0, *op.count, op.layer};
    return;
  }
  plan->wanted = wanted > 0 ? static_cast<int32_t>(wanted) : 0;
  *op.changes.newCount = plan->wanted;
}

// ---- the race

struct Race {
  Topology links;
  Draw draw;  // but for its step, which is the update
  const double* update;
  bool withInternal, soft;
  Threshold* floor;
  uint64_t* ranks;  // [room] of the candidates
  uint64_t* cells;  // [room]
  int32_t room;
};

/// Calls body(column, rank) for the block's rows and their missing links with a score.
template <bool kByPaths, class Body>
__device__ __forceinline__ void eachRank(const Race& race, unsigned char* shared, const Body& body) {
  Draw draw = race.draw;
  draw.step = static_cast<uint32_t>(*race.update);
  for (int64_t row = static_cast<int64_t>(blockIdx.x); row < race.links.rows; row += static_cast<int64_t>(gridDim.x)) {
    const int32_t i = static_cast<int32_t>(row);
    scoreMissing<kByPaths>(race.links, i, race.withInternal, shared, [&](int32_t column, float score) {
      body(i, column, rankAt(score, static_cast<uint32_t>(i), static_cast<uint32_t>(column), draw, race.soft, 1.f));
    });
  }
}

template <bool kByPaths>
__global__ void __launch_bounds__(scoring::kThreads, scoring::kResident) countCandidates(Race race, int pass, Count* all) {
  HEBB_SHARED_DYNAMIC(unsigned char, shared);
  HEBB_SHARED(int32_t, bins, [kDigits]);
  if (race.floor->settled) return;
  const Threshold known = *race.floor;
  clearBins(bins);
  __syncthreads();
  eachRank<kByPaths>(race, shared, [&](int32_t, int32_t, uint64_t rank) { countRank(known, pass, rank, bins); });
  __syncthreads();
  addBins(bins, all);
}

/// Lists the candidates at the floor or above it, in any order.
template <bool kByPaths>
__global__ void __launch_bounds__(scoring::kThreads, scoring::kResident) listCandidates(Race race, Plan* plan) {
  HEBB_SHARED_DYNAMIC(unsigned char, shared);
  const uint64_t floor = race.floor->rank;
  if (race.floor->wanted == 0) return;
  eachRank<kByPaths>(race, shared, [&](int32_t row, int32_t column, uint64_t rank) {
    if (rank < floor) return;
    const int32_t at = atomicAdd(&plan->candidates, 1);
    if (at >= race.room) return;
    race.ranks[at] = rank;
    race.cells[at] = static_cast<uint64_t>(row) * static_cast<uint64_t>(race.links.cols) + static_cast<uint64_t>(column);
  });
}

/// (cell, whether at the threshold) of all above or at the threshold, in any order.
__global__ void __launch_bounds__(kBlock) listWinners(Race race, const Threshold* threshold, Plan* plan, uint64_t* winners) {
  const int64_t i = element();
  if (i >= race.room || i >= plan->candidates) return;
  const uint64_t rank = race.ranks[i];
  if (rank >= threshold->rank) winners[atomicAdd(&plan->winners, 1)] = race.cells[i] << 1 | (rank == threshold->rank);
}

__global__ void __launch_bounds__(kBlock) markEqual(const uint64_t* winners, const Plan* plan, int64_t room, int32_t* equal) {
  const int64_t i = element();
  if (i < room) equal[i] = i < plan->winners ? static_cast<int32_t>(winners[i] & 1) : 0;
}

/// Of those at the threshold, the first ones win. `equal` are prefix sums over them.
__global__ void __launch_bounds__(kBlock) writeChosen(const uint64_t* winners, const Threshold* threshold, const int32_t* equal, Plan* plan, uint64_t* chosen) {
  const int64_t i = element();
  const int32_t n = plan->winners, left = threshold->left;
  if (i == 0) plan->chosen = n - equal[n] + (equal[n] < left ? equal[n] : left);
  if (i >= n || ((winners[i] & 1) && equal[i] >= left)) return;
  chosen[i - equal[i] + (equal[i] < left ? equal[i] : left)] = winners[i] >> 1;
}

/// chosen [capacity]: the cells of the links that win, ascending; plan->chosen of them.
Status runRace(Cuda& cuda, const Regrow& op, const Topology& links, Plan* plan, uint64_t* chosen) {
  const int64_t cells = int64_t{links.rows} * links.cols, most = op.links.capacity + kMoreCandidates, room = most < cells ? most : cells;
  Scratch<uint64_t> ranks(cuda), candidates(cuda), winners(cuda);
  Scratch<int32_t> equal(cuda);
  Scratch<Threshold> thresholds(cuda);
  Scratch<Count> bins(cuda);
  HEBB_RETURN_IF_ERROR(ranks.allocate(room));
  HEBB_RETURN_IF_ERROR(candidates.allocate(room));
  HEBB_RETURN_IF_ERROR(winners.allocate(room));
  HEBB_RETURN_IF_ERROR(equal.allocate(room + 1));
  HEBB_RETURN_IF_ERROR(thresholds.allocate(2));
  HEBB_RETURN_IF_ERROR(bins.allocate(kDigits));
  Threshold *const floor = thresholds.data(), *const threshold = floor + 1;
  const Race race{links,
                  {op.seed, 0, purposeWord(Purpose::regrow, static_cast<uint32_t>(op.layer))},
                  op.update,
                  isCh2(op.predictor),
                  op.selection == Selection::sample,
                  floor,
                  ranks.data(),
                  candidates.data(),
                  static_cast<int32_t>(room)};
  const bool byPaths = isByPaths(op.predictor);
  const size_t shared = scoringBytes(op.predictor);
  const int64_t blocks = links.rows < kRaceBlocks ? links.rows : kRaceBlocks;
  HEBB_RETURN_IF_ERROR(beginThreshold(cuda, kName, floor, &plan->wanted));
  for (int pass = 0; pass < kPasses; ++pass) {
    HEBB_RETURN_IF_ERROR(launch(cuda, kName, byPaths ? countCandidates<true> : countCandidates<false>, blocks, dim3(scoring::kThreads), shared, race, pass, bins.data()));
    HEBB_RETURN_IF_ERROR(pickDigit(cuda, kName, floor, pass, bins.data(), room));
  }
  HEBB_RETURN_IF_ERROR(launch(cuda, kName, byPaths ? listCandidates<true> : listCandidates<false>, blocks, dim3(scoring::kThreads), shared, race, plan));
  HEBB_RETURN_IF_ERROR(thresholdOf(cuda, kName, ranks.data(), room, &plan->candidates, &plan->wanted, threshold));
  HEBB_RETURN_IF_ERROR(launch(cuda, kName, listWinners, blocksFor(room), dim3(kBlock), 0, race, threshold, plan, winners.data()));
  HEBB_RETURN_IF_ERROR(sortKeys(cuda, kName, winners.data(), nullptr, room, &plan->winners, 0, bitsOf(cells) + 1));
  HEBB_RETURN_IF_ERROR(launch(cuda, kName, markEqual, blocksFor(room), dim3(kBlock), 0, winners.data(), plan, room, equal.data()));
  HEBB_RETURN_IF_ERROR(prefixSums(cuda, kName, equal.data(), room));
  return launch(cuda, kName, writeChosen, blocksFor(room), dim3(kBlock), 0, winners.data(), threshold, equal.data(), plan, chosen);
}

// ---- draws

/// Draws that hold n different numbers of a range of 2 n or more. It takes n 2 ln 2 of them at most, with a deviation of 0.8 sqrt(n): this many
/// are 28 deviations away.
__host__ __device__ constexpr int64_t drawsFor(int64_t n) { return n + n / 2 + 2048; }

__global__ void planDraws(Topology kept, Plan* plan) {
  plan->fill = plan->wanted - plan->chosen;
  plan->range = static_cast<int64_t>(kept.rows) * kept.cols - kept.rowOffsets[kept.rows] - plan->chosen;
  plan->complement = plan->fill > plan->range / 2;
  plan->distinct = plan->complement ? static_cast<int32_t>(plan->range - plan->fill) : plan->fill;
  plan->draws = plan->distinct > 0 ? static_cast<int32_t>(drawsFor(plan->distinct)) : 0;
}

__global__ void __launch_bounds__(kBlock) draw(const Plan* plan, uint64_t seed, const double* update, uint32_t purpose, uint64_t* numbers, uint32_t* order) {
  const int64_t i = element();
  if (i >= plan->draws) return;
  const Philox random = philox(seed, static_cast<uint32_t>(i), static_cast<uint32_t>(i >> 32), static_cast<uint32_t>(*update), purpose);
  const uint64_t bits = static_cast<uint64_t>(random.word[0]) << 32 | random.word[1];
  numbers[i] = static_cast<uint64_t>(static_cast<unsigned __int128>(bits) * static_cast<uint64_t>(plan->range) >> 64);
  order[i] = static_cast<uint32_t>(i);
}

/// firsts[d] = whether draw d is the first of its number.
__global__ void __launch_bounds__(kBlock) markFirsts(const Plan* plan, const uint64_t* numbers, const uint32_t* order, int32_t* firsts) {
  const int64_t i = element();
  if (i < plan->draws) firsts[order[i]] = i == 0 || numbers[i] != numbers[i - 1];
}

/// taken[i] = whether the i-th draw by number is one of the first different ones. `firsts` are prefix sums.
__global__ void __launch_bounds__(kBlock) markTaken(const Plan* plan, const uint32_t* order, const int32_t* firsts, int64_t most, int32_t* taken) {
  const int64_t i = element();
  if (i >= most) return;
  int32_t take = 0;
  if (i < plan->draws) {
    const uint32_t d = order[i];
    take = firsts[d + 1] > firsts[d] && firsts[d] < plan->distinct;
  }
  taken[i] = take;
}

__global__ void __launch_bounds__(kBlock) writeTaken(const Plan* plan, const uint64_t* numbers, const int32_t* taken, int64_t* set) {
  const int64_t i = element();
  if (i < plan->draws && taken[i + 1] > taken[i]) set[taken[i]] = static_cast<int64_t>(numbers[i]);
}

/// The n-th number that `set` [plan->distinct] (ascending) leaves out.
__device__ __forceinline__ int64_t leftOut(const int64_t* set, int32_t size, int64_t n) {
  int32_t begin = 0, end = size;
  while (begin < end) {
    const int32_t middle = begin + (end - begin) / 2;
    if (set[middle] - middle <= n) begin = middle + 1;
    else end = middle;
  }
  return n + begin;
}

/// set [capacity]: the numbers drawn, ascending; plan->distinct of them.
Status drawSet(Cuda& cuda, const Regrow& op, Plan* plan, int64_t* set) {
  const int64_t cells = int64_t{op.links.rows} * op.links.cols, most = drawsFor(op.links.capacity < cells ? op.links.capacity : cells);
  Scratch<uint64_t> numbers(cuda);
  Scratch<uint32_t> order(cuda);
  Scratch<int32_t> firsts(cuda), taken(cuda);
  HEBB_RETURN_IF_ERROR(numbers.allocate(most));
  HEBB_RETURN_IF_ERROR(order.allocate(most));
  HEBB_RETURN_IF_ERROR(firsts.allocate(most + 1));
  HEBB_RETURN_IF_ERROR(taken.allocate(most + 1));
  const int64_t blocks = blocksFor(most);
  const uint32_t purpose = purposeWord(Purpose::fill, static_cast<uint32_t>(op.layer));
  HEBB_RETURN_IF_ERROR(launch(cuda, kName, draw, blocks, dim3(kBlock), 0, plan, op.seed, op.update, purpose, numbers.data(), order.data()));
  HEBB_RETURN_IF_ERROR(sortKeys(cuda, kName, numbers.data(), order.data(), most, &plan->draws, 0, bitsOf(cells)));
  HEBB_RETURN_IF_ERROR(launch(cuda, kName, markFirsts, blocks, dim3(kBlock), 0, plan, numbers.data(), order.data(), firsts.data()));
  HEBB_RETURN_IF_ERROR(prefixSums(cuda, kName, firsts.data(), most));
  HEBB_RETURN_IF_ERROR(launch(cuda, kName, markTaken, blocks, dim3(kBlock), 0, plan, order.data(), firsts.data(), most, taken.data()));
  HEBB_RETURN_IF_ERROR(prefixSums(cuda, kName, taken.data(), most));
  return launch(cuda, kName, writeTaken, blocks, dim3(kBlock), 0, plan, numbers.data(), taken.data(), set);
}

// ---- the new links

/// Cells of [row begin, cell) that are taken: kept links and chosen ones.
struct Taken {
  Topology kept;
  const uint64_t* chosen;  // [count] cells
  int32_t count;
  __device__ __forceinline__ int32_t chosenBefore(uint64_t cell) const { return lowerBound(chosen, 0, count, cell); }
  __device__ __forceinline__ uint64_t cell(int64_t row, int64_t column) const { return static_cast<uint64_t>(row * kept.cols + column); }
  /// Free cells in all rows before.
  __device__ __forceinline__ int64_t freeBefore(int32_t row) const { return static_cast<int64_t>(row) * kept.cols - kept.rowOffsets[row] - chosenBefore(cell(row, 0)); }
};

/// cells[n] = the cell of the n-th drawn number: free cells are numbered row by row.
__global__ void __launch_bounds__(kBlock) findFree(Topology kept, const uint64_t* chosen, const Plan* plan, const int64_t* set, uint64_t* cells) {
  const int64_t i = element();
  if (i >= plan->fill) return;
  const Taken taken{kept, chosen, plan->chosen};
  const int64_t number = plan->complement ? leftOut(set, plan->distinct, i) : set[i];
  // The last row that has no more free cells before it than that.
  int32_t low = 0, high = kept.rows - 1;
  while (low < high) {
    const int32_t middle = low + (high - low + 1) / 2;
    if (taken.freeBefore(middle) <= number) low = middle;
    else high = middle - 1;
  }
  const int32_t row = low, begin = kept.rowOffsets[row], end = kept.rowOffsets[row + 1], first = taken.chosenBefore(taken.cell(row, 0));
  const int64_t n = number - taken.freeBefore(row);
  // The first column up to which n + 1 cells are free.
  int32_t left = static_cast<int32_t>(n), right = kept.cols - 1;
  while (left < right) {
    const int32_t middle = left + (right - left) / 2;
    const int32_t inKept = lowerBound(kept.columnIndices, begin, end, middle + 1) - begin;
    const int32_t inChosen = lowerBound(chosen, first, taken.count, taken.cell(row, int64_t{middle} + 1)) - first;
    if (int64_t{middle} + 1 - inKept - inChosen <= n) left = middle + 1;
    else right = middle;
  }
  cells[i] = taken.cell(row, left);
}

/// Merges chosen and drawn cells.
__global__ void __launch_bounds__(kBlock) writeNew(LinkChanges changes, int32_t cols, const Plan* plan, const uint64_t* chosen, const uint64_t* drawn) {
  const int64_t i = element();
  const auto put = [&](int64_t to, uint64_t cell) {
    changes.newRows[to] = static_cast<int32_t>(cell / static_cast<uint64_t>(cols));
    changes.newColumns[to] = static_cast<int32_t>(cell % static_cast<uint64_t>(cols));
  };
  if (i < plan->chosen) put(i + lowerBound(drawn, 0, plan->fill, chosen[i]), chosen[i]);
  if (i < plan->fill) put(i + lowerBound(chosen, 0, plan->chosen, drawn[i]), drawn[i]);
}

}  // namespace

Status regrow(Backend& backend, const Regrow& op) {
  Cuda& cuda = cudaOf(backend);
  const Csr& w = op.links;
  const int64_t capacity = w.capacity;
  if (capacity > kMostLinks) return {Code::unsupported, "Expected a layer of at most " + std::to_string(kMostLinks) + " links, got " + std::to_string(capacity)};
  if (op.predictor != LinkPredictor::none) HEBB_RETURN_IF_ERROR(checkRoute(op.route));
  Scratch<Plan> plans(cuda);
  Scratch<int32_t> rowOffsets(cuda), columnIndices(cuda), columnOffsets(cuda), rowIndices(cuda);
  Scratch<uint64_t> chosen(cuda), drawn(cuda);
  Scratch<int64_t> set(cuda);
  HEBB_RETURN_IF_ERROR(plans.allocate(1));
  HEBB_RETURN_IF_ERROR(rowOffsets.allocate(int64_t{w.rows} + 1));
  HEBB_RETURN_IF_ERROR(columnIndices.allocate(capacity));
  HEBB_RETURN_IF_ERROR(columnOffsets.allocate(int64_t{w.cols} + 1));
  HEBB_RETURN_IF_ERROR(rowIndices.allocate(capacity));
  HEBB_RETURN_IF_ERROR(chosen.allocate(capacity));
  HEBB_RETURN_IF_ERROR(drawn.allocate(capacity));
  HEBB_RETURN_IF_ERROR(set.allocate(capacity));
  Plan* const todo = plans.data();
  {
    Scratch<int32_t> inRows(cuda), inColumns(cuda);
    HEBB_RETURN_IF_ERROR(inRows.allocate(capacity + 1));
    HEBB_RETURN_IF_ERROR(inColumns.allocate(capacity + 1));
    const auto elements = [&](int64_t nodes) { return blocksFor(capacity > nodes + 1 ? capacity : nodes + 1); };
    HEBB_RETURN_IF_ERROR(launch(cuda, kName, markKept, blocksFor(capacity), dim3(kBlock), 0, w, op.changes.keep, inRows.data(), inColumns.data()));
    HEBB_RETURN_IF_ERROR(prefixSums(cuda, kName, inRows.data(), capacity));
    HEBB_RETURN_IF_ERROR(prefixSums(cuda, kName, inColumns.data(), capacity));
    HEBB_RETURN_IF_ERROR(launch(cuda, kName, packKept, elements(w.rows), dim3(kBlock), 0, w.rowOffsets, w.columnIndices, w.rows, inRows.data(), rowOffsets.data(), columnIndices.data()));
    HEBB_RETURN_IF_ERROR(launch(cuda, kName, packKept, elements(w.cols), dim3(kBlock), 0, w.columnOffsets, w.rowIndices, w.cols, inColumns.data(), columnOffsets.data(), rowIndices.data()));
  }
  const Topology kept{w.rows, w.cols, rowOffsets.data(), columnIndices.data(), columnOffsets.data(), rowIndices.data()};
  HEBB_RETURN_IF_ERROR(launch(cuda, kName, plan, 1, dim3(1), 0, op, kept.rowOffsets, todo, cuda.failure()));
  if (op.predictor != LinkPredictor::none) HEBB_RETURN_IF_ERROR(runRace(cuda, op, kept, todo, chosen.data()));
  HEBB_RETURN_IF_ERROR(launch(cuda, kName, planDraws, 1, dim3(1), 0, kept, todo));
  HEBB_RETURN_IF_ERROR(drawSet(cuda, op, todo, set.data()));
  HEBB_RETURN_IF_ERROR(launch(cuda, kName, findFree, blocksFor(capacity), dim3(kBlock), 0, kept, chosen.data(), todo, set.data(), drawn.data()));
  return launch(cuda, kName, writeNew, blocksFor(capacity), dim3(kBlock), 0, op.changes, w.cols, todo, chosen.data(), drawn.data());
}

}  // namespace hebb::cuda
