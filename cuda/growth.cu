// The kernels of growth.cuh in the order in which an update runs them: kept links, race, draws, new links. Scores come
// from regrow.cu and gradient_growth.cu.
#include "growth.cuh"

#include "launch.cuh"
#include "scan.h"
#include "search.cuh"
#include "sort.h"

namespace hebb::cuda {
namespace {

constexpr int64_t kMostLinks = int64_t{1} << 30;  // places that draws and candidates have must be numbers of 32 bits
constexpr int64_t kMoreCandidates = 65536;        // that the race lists, beside one for each link that it may want

// ---- the kept links

__global__ void __launch_bounds__(kBlock)
    markKept(Csr links, const uint8_t* keep, int32_t* inRows, int32_t* inColumns) {
  const int64_t k = element();
  if (k >= links.capacity) return;
  const bool there = k < links.rowOffsets[links.rows];
  inRows[k] = there && keep[links.cscSlots[k]];
  inColumns[k] = there && keep[k];
}

/// One view: offsets and indices of the kept links; `before` are prefix sums over the flags.
__global__ void __launch_bounds__(kBlock) packKept(const int32_t* offsets, const int32_t* indices, int32_t nodes,
                                                   const int32_t* before, int32_t* keptOffsets, int32_t* keptIndices) {
  const int64_t at = element();
  if (at <= nodes) keptOffsets[at] = before[offsets[at]];
  if (at < offsets[nodes] && before[at + 1] > before[at]) keptIndices[before[at]] = indices[at];
}

__global__ void makePlan(GrowthRequest op, const int32_t* keptOffsets, GrowthPlan* plan, Failure* failure) {
  const int64_t cells = static_cast<int64_t>(op.links.rows) * op.links.cols,
                most = op.links.capacity < cells ? op.links.capacity : cells;
  const int64_t target = static_cast<int64_t>(*op.count), wanted = target - keptOffsets[op.links.rows];
  plan->wanted = 0;
  if (failed(failure)) return;
  if (target > most) {
    *failure = {op.tooMany, static_cast<int32_t>(most), 0, *op.count, op.layer};
    return;
  }
  plan->wanted = wanted > 0 ? static_cast<int32_t>(wanted) : 0;
  *op.changes.newCount = plan->wanted;
}

// ---- the race

/// (cell, whether at the threshold) of all above or at the threshold, in any order.
__global__ void __launch_bounds__(kBlock)
    listWinners(Candidates race, const Threshold* threshold, GrowthPlan* plan, uint64_t* winners) {
  const int64_t i = element();
  if (i >= race.room || i >= plan->candidates) return;
  const uint64_t rank = race.ranks[i];
  if (rank >= threshold->rank) winners[atomicAdd(&plan->winners, 1)] = race.cells[i] << 1 | (rank == threshold->rank);
}

__global__ void __launch_bounds__(kBlock)
    markEqual(const uint64_t* winners, const GrowthPlan* plan, int64_t room, int32_t* equal) {
  const int64_t i = element();
  if (i < room) equal[i] = i < plan->winners ? static_cast<int32_t>(winners[i] & 1) : 0;
}

/// Of those at the threshold, the first ones win. `equal` are prefix sums over them.
__global__ void __launch_bounds__(kBlock) writeChosen(const uint64_t* winners, const Threshold* threshold,
                                                      const int32_t* equal, GrowthPlan* plan, uint64_t* chosen) {
  const int64_t i = element();
  const int32_t n = plan->winners, left = threshold->left;
  if (i == 0) plan->chosen = n - equal[n] + (equal[n] < left ? equal[n] : left);
  if (i >= n || ((winners[i] & 1) && equal[i] >= left)) return;
  chosen[i - equal[i] + (equal[i] < left ? equal[i] : left)] = winners[i] >> 1;
}

// ---- draws

/// Draws that hold n different numbers of a range of 2 n or more. It takes n 2 ln 2 of them at most, with a deviation
/// of 0.8 sqrt(n): this many are 28 deviations away.
__host__ __device__ constexpr int64_t drawsFor(int64_t n) { return n + n / 2 + 2048; }

__global__ void planDraws(Topology kept, GrowthPlan* plan) {
  plan->fill = plan->wanted - plan->chosen;
  plan->range = static_cast<int64_t>(kept.rows) * kept.cols - kept.rowOffsets[kept.rows] - plan->chosen;
  plan->complement = plan->fill > plan->range / 2;
  plan->distinct = plan->complement ? static_cast<int32_t>(plan->range - plan->fill) : plan->fill;
  plan->draws = plan->distinct > 0 ? static_cast<int32_t>(drawsFor(plan->distinct)) : 0;
}

__global__ void __launch_bounds__(kBlock) draw(const GrowthPlan* plan, uint64_t seed, const double* update,
                                               uint32_t purpose, uint64_t* numbers, uint32_t* order) {
  const int64_t i = element();
  if (i >= plan->draws) return;
  const Philox random =
      philox(seed, static_cast<uint32_t>(i), static_cast<uint32_t>(i >> 32), static_cast<uint32_t>(*update), purpose);
  const uint64_t bits = static_cast<uint64_t>(random.word[0]) << 32 | random.word[1];
  numbers[i] = static_cast<uint64_t>(static_cast<unsigned __int128>(bits) * static_cast<uint64_t>(plan->range) >> 64);
  order[i] = static_cast<uint32_t>(i);
}

/// firsts[d] = whether draw d is the first of its number.
__global__ void __launch_bounds__(kBlock)
    markFirsts(const GrowthPlan* plan, const uint64_t* numbers, const uint32_t* order, int32_t* firsts) {
  const int64_t i = element();
  if (i < plan->draws) firsts[order[i]] = i == 0 || numbers[i] != numbers[i - 1];
}

/// taken[i] = whether the i-th draw by number is one of the first different ones. `firsts` are prefix sums.
__global__ void __launch_bounds__(kBlock)
    markTaken(const GrowthPlan* plan, const uint32_t* order, const int32_t* firsts, int64_t most, int32_t* taken) {
  const int64_t i = element();
  if (i >= most) return;
  int32_t take = 0;
  if (i < plan->draws) {
    const uint32_t d = order[i];
    take = firsts[d + 1] > firsts[d] && firsts[d] < plan->distinct;
  }
  taken[i] = take;
}

__global__ void __launch_bounds__(kBlock)
    writeTaken(const GrowthPlan* plan, const uint64_t* numbers, const int32_t* taken, int64_t* set) {
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

// ---- the new links

/// Cells of [row begin, cell) that are taken: kept links and chosen ones.
struct Taken {
  Topology kept;
  const uint64_t* chosen;  // [count] cells
  int32_t count;
  __device__ __forceinline__ int32_t chosenBefore(uint64_t cell) const { return lowerBound(chosen, 0, count, cell); }
  __device__ __forceinline__ uint64_t cell(int64_t row, int64_t column) const {
    return static_cast<uint64_t>(row * kept.cols + column);
  }
  /// Free cells in all rows before.
  __device__ __forceinline__ int64_t freeBefore(int32_t row) const {
    return static_cast<int64_t>(row) * kept.cols - kept.rowOffsets[row] - chosenBefore(cell(row, 0));
  }
};

/// cells[n] = the cell of the n-th drawn number: free cells are numbered row by row.
__global__ void __launch_bounds__(kBlock)
    findFree(Topology kept, const uint64_t* chosen, const GrowthPlan* plan, const int64_t* set, uint64_t* cells) {
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
  const int32_t row = low, begin = kept.rowOffsets[row], end = kept.rowOffsets[row + 1],
                first = taken.chosenBefore(taken.cell(row, 0));
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
__global__ void __launch_bounds__(kBlock)
    writeNew(LinkChanges changes, int32_t cols, const GrowthPlan* plan, const uint64_t* chosen, const uint64_t* drawn) {
  const int64_t i = element();
  const auto put = [&](int64_t to, uint64_t cell) {
    changes.newRows[to] = static_cast<int32_t>(cell / static_cast<uint64_t>(cols));
    changes.newColumns[to] = static_cast<int32_t>(cell % static_cast<uint64_t>(cols));
  };
  if (i < plan->chosen) put(i + lowerBound(drawn, 0, plan->fill, chosen[i]), chosen[i]);
  if (i < plan->fill) put(i + lowerBound(chosen, 0, plan->chosen, drawn[i]), drawn[i]);
}

}  // namespace

Growth::Growth(Cuda& cuda, const GrowthRequest& request)
    : cuda_(cuda), request_(request), plan_(cuda), rowOffsets_(cuda), columnIndices_(cuda), columnOffsets_(cuda),
      rowIndices_(cuda), chosen_(cuda), kept_{} {}

int64_t Growth::room() const {
  const int64_t most = request_.links.capacity + kMoreCandidates;
  return most < cells() ? most : cells();
}

Status Growth::begin() {
  const Csr& w = request_.links;
  const char* const name = request_.operation;
  const int64_t capacity = w.capacity;
  if (capacity > kMostLinks)
    return {Code::unsupported,
            "Expected a layer of at most " + std::to_string(kMostLinks) + " links, got " + std::to_string(capacity)};
  HEBB_RETURN_IF_ERROR(plan_.allocate(1));
  HEBB_RETURN_IF_ERROR(rowOffsets_.allocate(int64_t{w.rows} + 1));
  HEBB_RETURN_IF_ERROR(columnIndices_.allocate(capacity));
  HEBB_RETURN_IF_ERROR(columnOffsets_.allocate(int64_t{w.cols} + 1));
  HEBB_RETURN_IF_ERROR(rowIndices_.allocate(capacity));
  HEBB_RETURN_IF_ERROR(chosen_.allocate(capacity));
  Scratch<int32_t> inRows(cuda_), inColumns(cuda_);
  HEBB_RETURN_IF_ERROR(inRows.allocate(capacity + 1));
  HEBB_RETURN_IF_ERROR(inColumns.allocate(capacity + 1));
  const auto elements = [&](int64_t nodes) { return blocksFor(capacity > nodes + 1 ? capacity : nodes + 1); };
  HEBB_RETURN_IF_ERROR(launch(cuda_, name, markKept, blocksFor(capacity), dim3(kBlock), 0, w, request_.changes.keep,
                              inRows.data(), inColumns.data()));
  HEBB_RETURN_IF_ERROR(prefixSums(cuda_, name, inRows.data(), capacity));
  HEBB_RETURN_IF_ERROR(prefixSums(cuda_, name, inColumns.data(), capacity));
  HEBB_RETURN_IF_ERROR(launch(cuda_, name, packKept, elements(w.rows), dim3(kBlock), 0, w.rowOffsets, w.columnIndices,
                              w.rows, inRows.data(), rowOffsets_.data(), columnIndices_.data()));
  HEBB_RETURN_IF_ERROR(launch(cuda_, name, packKept, elements(w.cols), dim3(kBlock), 0, w.columnOffsets, w.rowIndices,
                              w.cols, inColumns.data(), columnOffsets_.data(), rowIndices_.data()));
  kept_ = {w.rows, w.cols, rowOffsets_.data(), columnIndices_.data(), columnOffsets_.data(), rowIndices_.data()};
  return launch(cuda_, name, makePlan, 1, dim3(1), 0, request_, kept_.rowOffsets, plan_.data(), cuda_.failure());
}

Status Growth::choose(const Candidates& candidates) {
  const char* const name = request_.operation;
  GrowthPlan* const plan = plan_.data();
  Scratch<uint64_t> winners(cuda_);
  Scratch<int32_t> equal(cuda_);
  Scratch<Threshold> threshold(cuda_);
  HEBB_RETURN_IF_ERROR(winners.allocate(room()));
  HEBB_RETURN_IF_ERROR(equal.allocate(room() + 1));
  HEBB_RETURN_IF_ERROR(threshold.allocate(1));
  HEBB_RETURN_IF_ERROR(
      thresholdOf(cuda_, name, candidates.ranks, room(), &plan->candidates, &plan->wanted, threshold.data()));
  HEBB_RETURN_IF_ERROR(launch(cuda_, name, listWinners, blocksFor(room()), dim3(kBlock), 0, candidates,
                              threshold.data(), plan, winners.data()));
  HEBB_RETURN_IF_ERROR(sortKeys(cuda_, name, winners.data(), nullptr, room(), &plan->winners, 0, bitsOf(cells()) + 1));
  HEBB_RETURN_IF_ERROR(
      launch(cuda_, name, markEqual, blocksFor(room()), dim3(kBlock), 0, winners.data(), plan, room(), equal.data()));
  HEBB_RETURN_IF_ERROR(prefixSums(cuda_, name, equal.data(), room()));
  return launch(cuda_, name, writeChosen, blocksFor(room()), dim3(kBlock), 0, winners.data(), threshold.data(),
                equal.data(), plan, chosen_.data());
}

/// set [capacity]: the numbers drawn, ascending; plan->distinct of them.
Status Growth::drawSet(int64_t* set) {
  const int64_t capacity = request_.links.capacity, most = drawsFor(capacity < cells() ? capacity : cells());
  GrowthPlan* const plan = plan_.data();
  Scratch<uint64_t> numbers(cuda_);
  Scratch<uint32_t> order(cuda_);
  Scratch<int32_t> firsts(cuda_), taken(cuda_);
  HEBB_RETURN_IF_ERROR(numbers.allocate(most));
  HEBB_RETURN_IF_ERROR(order.allocate(most));
  HEBB_RETURN_IF_ERROR(firsts.allocate(most + 1));
  HEBB_RETURN_IF_ERROR(taken.allocate(most + 1));
  const int64_t blocks = blocksFor(most);
  const uint32_t purpose = purposeWord(kFillDraws, static_cast<uint32_t>(request_.layer));
  HEBB_RETURN_IF_ERROR(launch(cuda_, request_.operation, draw, blocks, dim3(kBlock), 0, plan, request_.seed,
                              request_.update, purpose, numbers.data(), order.data()));
  HEBB_RETURN_IF_ERROR(
      sortKeys(cuda_, request_.operation, numbers.data(), order.data(), most, &plan->draws, 0, bitsOf(cells())));
  HEBB_RETURN_IF_ERROR(launch(cuda_, request_.operation, markFirsts, blocks, dim3(kBlock), 0, plan, numbers.data(),
                              order.data(), firsts.data()));
  HEBB_RETURN_IF_ERROR(prefixSums(cuda_, request_.operation, firsts.data(), most));
  HEBB_RETURN_IF_ERROR(launch(cuda_, request_.operation, markTaken, blocks, dim3(kBlock), 0, plan, order.data(),
                              firsts.data(), most, taken.data()));
  HEBB_RETURN_IF_ERROR(prefixSums(cuda_, request_.operation, taken.data(), most));
  return launch(cuda_, request_.operation, writeTaken, blocks, dim3(kBlock), 0, plan, numbers.data(), taken.data(),
                set);
}

Status Growth::finish() {
  const Csr& w = request_.links;
  const char* const name = request_.operation;
  GrowthPlan* const plan = plan_.data();
  Scratch<uint64_t> drawn(cuda_);
  Scratch<int64_t> set(cuda_);
  HEBB_RETURN_IF_ERROR(drawn.allocate(w.capacity));
  HEBB_RETURN_IF_ERROR(set.allocate(w.capacity));
  HEBB_RETURN_IF_ERROR(launch(cuda_, name, planDraws, 1, dim3(1), 0, kept_, plan));
  HEBB_RETURN_IF_ERROR(drawSet(set.data()));
  HEBB_RETURN_IF_ERROR(launch(cuda_, name, findFree, blocksFor(w.capacity), dim3(kBlock), 0, kept_, chosen_.data(),
                              plan, set.data(), drawn.data()));
  return launch(cuda_, name, writeNew, blocksFor(w.capacity), dim3(kBlock), 0, request_.changes, w.cols, plan,
                chosen_.data(), drawn.data());
}

}  // namespace hebb::cuda
