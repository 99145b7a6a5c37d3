// Sampling without replacement: every element gets its rank, a radix select (ranks.cuh) finds the smallest one that
// wins, and of the elements that share it the first ones win, by a prefix sum. The counter of an element's random
// numbers is its place, so no order of threads matters.
//
// Roofline, L links: 9 L bytes for the ranks and about 100 instructions each (Philox, two logarithms), 8 L a pass of
// the select (two or three do work), 30 L for ties and flags.
#include "hebb/sample.h"

#include "launch.cuh"
#include "ranks.cuh"
#include "scan.h"
#include "search.cuh"

namespace hebb::cuda {
namespace {

/// Whether a score can be ranked: finite and not negative.
__device__ __forceinline__ bool valid(float score) { return score >= 0.f && score <= 3.402823466e+38f; }

/// Of a choice among a layer's links.
struct Found {
  int32_t kept;  // links that may stay
  int32_t last;  // the last one whose score cannot be ranked, plus 1
  int32_t wanted;
};

__global__ void __launch_bounds__(kBlock) rankLinks(KeepLinks op, uint64_t* ranks, Found* found) {
  const int64_t at = element();
  const bool there = at < op.links.rowOffsets[op.links.rows], kept = there && op.keep[at];
  const unsigned inWarp = __ballot_sync(kWholeWarp, kept);
  if (inWarp && threadIdx.x % kWarp == 0) atomicAdd(&found->kept, __popc(inWarp));
  if (!there) return;
  uint64_t rank = 0;  // of links already dropped, which hold no score
  if (kept) {
    const int32_t k = static_cast<int32_t>(at);
    const float score = op.scores[k], temperature = op.temperature ? static_cast<float>(*op.temperature) : 1.f;
    const Draw draw{op.seed, static_cast<uint32_t>(*op.update),
                    purposeWord(op.purpose, static_cast<uint32_t>(op.layer))};
    if (!valid(score)) atomicMax(&found->last, k + 1);
    rank = rankAt(score, static_cast<uint32_t>(op.links.rowIndices[k]),
                  static_cast<uint32_t>(rowOf(op.links.columnOffsets, op.links.cols, k)), draw,
                  op.temperature != nullptr, temperature);
  }
  ranks[at] = rank;
}

__global__ void judge(KeepLinks op, Found* found, Failure* failure) {
  const double count = *op.count;
  found->wanted = count < 1 ? 0 : count < 2147483647. ? static_cast<int32_t>(count) : INT32_MAX;
  if (found->wanted >= found->kept || found->last == 0 || failed(failure)) return;
  const int32_t k = found->last - 1, column = rowOf(op.links.columnOffsets, op.links.cols, k);
  *failure = {Problem::score, 0, static_cast<int64_t>(op.links.rowIndices[k]) << 32 | static_cast<uint32_t>(column),
              static_cast<double>(op.scores[k]), op.layer};
}

__global__ void __launch_bounds__(kBlock) markEqual(const uint64_t* ranks, const uint8_t* keep, int64_t n,
                                                    const int32_t* count, const Threshold* threshold, int32_t* equal) {
  const int64_t i = element();
  if (i < n) equal[i] = i < *count && (!keep || keep[i]) && ranks[i] == threshold->rank;
}

/// Whether element i wins; `equal` are prefix sums over those at the threshold.
__device__ __forceinline__ bool wins(uint64_t rank, const Threshold& threshold, int32_t equal) {
  return rank > threshold.rank || (rank == threshold.rank && equal < threshold.left);
}

__global__ void __launch_bounds__(kBlock) dropLinks(KeepLinks op, const uint64_t* ranks, const Threshold* threshold,
                                                    const int32_t* equal, const Failure* failure) {
  const int64_t i = element();
  if (failed(failure) || i >= op.links.rowOffsets[op.links.rows]) return;
  if (op.keep[i] && !wins(ranks[i], *threshold, equal[i])) op.keep[i] = 0;
}

__global__ void __launch_bounds__(kBlock)
    rankScores(const float* scores, int32_t n, Draw draw, float temperature, uint64_t* ranks, int32_t* firstBad) {
  const int64_t i = element();
  if (i >= n) return;
  if (!valid(scores[i])) atomicMin(firstBad, static_cast<int32_t>(i));
  ranks[i] = rankAt(scores[i], 0, static_cast<uint32_t>(i), draw, true, temperature);
}

/// Winners keep their order.
__global__ void __launch_bounds__(kBlock)
    markWinners(const uint64_t* ranks, int32_t n, const Threshold* threshold, const int32_t* equal, int32_t* winners) {
  const int64_t i = element();
  if (i < n) winners[i] = wins(ranks[i], *threshold, equal[i]);
}

__global__ void __launch_bounds__(kBlock) listWinners(int32_t n, const int32_t* winners, int32_t* list) {
  const int64_t i = element();
  if (i < n && winners[i + 1] > winners[i]) list[winners[i]] = static_cast<int32_t>(i);
}

}  // namespace

Status keepLinks(Backend& backend, const KeepLinks& op) {
  Cuda& cuda = cudaOf(backend);
  const char* const name = "keepLinks";
  const int64_t capacity = op.links.capacity, blocks = blocksFor(capacity);
  const int32_t* const links = op.links.rowOffsets + op.links.rows;
  Scratch<uint64_t> ranks(cuda);
  Scratch<int32_t> equal(cuda);
  Scratch<Found> found(cuda);
  Scratch<Threshold> threshold(cuda);
  HEBB_RETURN_IF_ERROR(ranks.allocate(capacity));
  HEBB_RETURN_IF_ERROR(equal.allocate(capacity + 1));
  HEBB_RETURN_IF_ERROR(found.allocate(1));
  HEBB_RETURN_IF_ERROR(threshold.allocate(1));
  HEBB_RETURN_IF_ERROR(launch(cuda, name, rankLinks, blocks, dim3(kBlock), 0, op, ranks.data(), found.data()));
  HEBB_RETURN_IF_ERROR(launch(cuda, name, judge, 1, dim3(1), 0, op, found.data(), cuda.failure()));
  HEBB_RETURN_IF_ERROR(thresholdOf(cuda, name, ranks.data(), capacity, links, &found.data()->wanted, threshold.data()));
  HEBB_RETURN_IF_ERROR(launch(cuda, name, markEqual, blocks, dim3(kBlock), 0, ranks.data(), op.keep, capacity, links,
                              threshold.data(), equal.data()));
  HEBB_RETURN_IF_ERROR(prefixSums(cuda, name, equal.data(), capacity));
  return launch(cuda, name, dropLinks, blocks, dim3(kBlock), 0, op, ranks.data(), threshold.data(), equal.data(),
                cuda.failure());
}

// Scores and answer are the host's: this one waits.
Status sampleScores(Backend& backend, const SampleScores& op) {
  Cuda& cuda = cudaOf(backend);
  const char* const name = "sampleScores";
  op.indices->clear();
  if (op.n < 1) return {};
  if (op.n >= INT32_MAX) return {Code::unsupported, "Expected fewer than 2^31 - 1 scores, got " + std::to_string(op.n)};
  struct Given {
    int32_t count, wanted, firstBad;
  } given{static_cast<int32_t>(op.n), op.k > 0 ? static_cast<int32_t>(op.k) : 0, INT32_MAX};
  const int32_t n = given.count;
  const int64_t blocks = blocksFor(n);
  Scratch<float> scores(cuda);
  Scratch<uint64_t> ranks(cuda);
  Scratch<int32_t> equal(cuda), winners(cuda), list(cuda);
  Scratch<Given> numbers(cuda);
  Scratch<Threshold> threshold(cuda);
  HEBB_RETURN_IF_ERROR(scores.allocate(n));
  HEBB_RETURN_IF_ERROR(ranks.allocate(n));
  HEBB_RETURN_IF_ERROR(equal.allocate(int64_t{n} + 1));
  HEBB_RETURN_IF_ERROR(winners.allocate(int64_t{n} + 1));
  HEBB_RETURN_IF_ERROR(list.allocate(n));
  HEBB_RETURN_IF_ERROR(numbers.allocate(1));
  HEBB_RETURN_IF_ERROR(threshold.allocate(1));
  HEBB_RETURN_IF_ERROR(cuda.write(scores.data(), op.scores, sizeof(float) * static_cast<size_t>(n)));
  HEBB_RETURN_IF_ERROR(cuda.write(numbers.data(), &given, sizeof given));
  const Draw draw{op.seed, 0, purposeWord(kSampleDraws, 0)};
  HEBB_RETURN_IF_ERROR(launch(cuda, name, rankScores, blocks, dim3(kBlock), 0, scores.data(), n, draw, op.temperature,
                              ranks.data(), &numbers.data()->firstBad));
  HEBB_RETURN_IF_ERROR(cuda.read(&given, numbers.data(), sizeof given));
  if (given.firstBad < n) {
    return {Code::nonFinite, "Expected scores to be finite and not negative, got " +
                                 std::to_string(op.scores[given.firstBad]) + " at " + std::to_string(given.firstBad)};
  }
  if (given.wanted == 0) return {};
  const uint8_t* const all = nullptr;
  HEBB_RETURN_IF_ERROR(
      thresholdOf(cuda, name, ranks.data(), n, &numbers.data()->count, &numbers.data()->wanted, threshold.data()));
  HEBB_RETURN_IF_ERROR(launch(cuda, name, markEqual, blocks, dim3(kBlock), 0, ranks.data(), all, int64_t{n},
                              &numbers.data()->count, threshold.data(), equal.data()));
  HEBB_RETURN_IF_ERROR(prefixSums(cuda, name, equal.data(), n));
  HEBB_RETURN_IF_ERROR(launch(cuda, name, markWinners, blocks, dim3(kBlock), 0, ranks.data(), n, threshold.data(),
                              equal.data(), winners.data()));
  HEBB_RETURN_IF_ERROR(prefixSums(cuda, name, winners.data(), n));
  HEBB_RETURN_IF_ERROR(launch(cuda, name, listWinners, blocks, dim3(kBlock), 0, n, winners.data(), list.data()));
  std::vector<int32_t> chosen(static_cast<size_t>(given.wanted < n ? given.wanted : n));
  HEBB_RETURN_IF_ERROR(cuda.read(chosen.data(), list.data(), sizeof(int32_t) * chosen.size()));
  op.indices->assign(chosen.begin(), chosen.end());
  return {};
}

}  // namespace hebb::cuda
