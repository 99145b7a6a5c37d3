// Sequences of a batch, by one block: its threads share out the sequences, sum up their lengths, and then each warp
// copies one sequence after another. Bound by the latency of some dependent loads and of the scan: a batch has some
// thousand tokens, 8 bytes each (12 with positions).
#include "hebb/sequences.h"

#include "launch.cuh"

namespace hebb::cuda {
namespace {

constexpr int kThreads = 512;
constexpr int kWarps = kThreads / kWarp;

/// Where a sequence of the batch lies among the tokens, or which of its numbers is wrong.
struct Place {
  int32_t from = 0, count = 0;
  Problem problem = Problem::none;
  int64_t got = 0, limit = 0;
};

__device__ __forceinline__ Place placeOf(const GatherSequences& op, int64_t planned) {
  const int64_t s = op.plan[planned];
  if (s < 0 || s >= op.sequences) return {0, 0, Problem::plannedSequence, s, op.sequences};
  const int64_t from = op.starts[s], to = op.starts[s + 1];
  if (from < 0 || to < from || to > op.total) return {0, 0, Problem::sequenceStart, from < 0 ? from : to, op.total};
  const int64_t count = to - from - op.skip - op.drop;
  return {static_cast<int32_t>(from + op.skip), count < 0 ? 0 : static_cast<int32_t>(count)};
}

__device__ __forceinline__ void report(Failure* failure, Problem problem, int64_t got, int64_t limit) {
  failure->limit = limit;
  failure->got = static_cast<double>(got);
  storeRacing(&failure->problem, problem);
}

/// The sum of what the threads before have, and of all of them. Called by the whole block.
__device__ __forceinline__ int64_t sumBefore(int64_t mine, int64_t* all) {
  HEBB_SHARED(int64_t, sums, [kWarps]);
  const int thread = static_cast<int>(threadIdx.x), lane = thread % kWarp;
  int64_t upToMine = mine;
#pragma unroll
  for (int distance = 1; distance < kWarp; distance *= 2) {
    const int64_t before = __shfl_up_sync(kWholeWarp, upToMine, static_cast<unsigned>(distance));
    if (lane >= distance) upToMine += before;
  }
  __syncthreads();  // who called before has read
  if (lane == kWarp - 1) sums[thread / kWarp] = upToMine;
  __syncthreads();
  int64_t before = upToMine - mine, total = 0;
  for (int warp = 0; warp < kWarps; ++warp) {
    if (warp < thread / kWarp) before += sums[warp];
    total += sums[warp];
  }
  *all = total;
  return before;
}

/// Twice through the sequences, kThreads at a time: first to see that all is right and fits, then to copy.
__global__ void __launch_bounds__(kThreads) gatherTokens(GatherSequences op, Failure* failure) {
  HEBB_SHARED(int32_t, wrong, [1]);
  HEBB_SHARED(int32_t, froms, [kThreads]);
  HEBB_SHARED(int32_t, counts, [kThreads]);
  HEBB_SHARED(int32_t, places, [kThreads]);
  const int thread = static_cast<int>(threadIdx.x);
  if (thread == 0) wrong[0] = loadRacing(&failure->problem) != Problem::none ? -1 : kThreads;
  __syncthreads();
  const bool isOver = wrong[0] < 0;
  __syncthreads();
  if (isOver) return;
  const int64_t row = op.row(), begin = op.batches[row], end = op.batches[row + 1];
  if (begin < 0 || end < begin || end > op.planned || end - begin > op.most) {
    if (thread != 0) return;
    if (end - begin > op.most && begin >= 0 && end <= op.planned)
      report(failure, Problem::batchSequences, end - begin, op.most);
    else report(failure, Problem::batchOfPlan, begin < 0 ? begin : end, op.planned);
    return;
  }
  int64_t columns = 0;
  for (int64_t first = begin; first < end; first += kThreads) {
    const Place place = first + thread < end ? placeOf(op, first + thread) : Place{};
    if (place.problem != Problem::none) atomicMin(&wrong[0], thread);
    int64_t all = 0;
    sumBefore(place.count, &all);  // which waits for the whole block
    if (wrong[0] < kThreads) {
      if (thread == wrong[0]) report(failure, place.problem, place.got, place.limit);
      return;
    }
    __syncthreads();  // all have looked before one of the next is wrong
    columns += all;
  }
  if (columns > op.columns) {
    if (thread == 0) report(failure, Problem::batchTokens, columns, op.columns);
    return;
  }
  int32_t at = 0;
  for (int64_t first = begin; first < end; first += kThreads) {
    const bool has = first + thread < end;
    const Place place = has ? placeOf(op, first + thread) : Place{};
    int64_t all = 0;
    const int32_t mine = at + static_cast<int32_t>(sumBefore(place.count, &all));
    froms[thread] = place.from;
    counts[thread] = place.count;
    places[thread] = mine;
    if (has && op.offsets) op.offsets[first - begin + thread] = mine;
    __syncthreads();
    const int here = static_cast<int>(end - first < kThreads ? end - first : kThreads);
    for (int i = thread / kWarp; i < here; i += kWarps) {
      for (int32_t k = thread % kWarp; k < counts[i]; k += kWarp) {
        op.output[places[i] + k] = op.tokens[froms[i] + k];
        if (op.positions) op.positions[places[i] + k] = k;
      }
    }
    at += static_cast<int32_t>(all);
  }
  if (op.offsets) {
    for (int64_t i = end - begin + thread; i <= op.most; i += kThreads) op.offsets[i] = at;
  }
  if (thread == 0) *op.axis = {at, 0, at};
}

}  // namespace

Status gatherSequences(Backend& backend, const GatherSequences& op) {
  Cuda& cuda = cudaOf(backend);
  return launch(cuda, "gatherSequences", gatherTokens, 1, dim3(kThreads), 0, op, cuda.failure());
}

}  // namespace hebb::cuda
