#include "hebb/sample.h"

#include <cmath>

#include "cpu.h"
#include "level.h"
#include "ranks.h"

namespace hebb::cpu::HEBB_LEVEL {
namespace {

/// out[i] = rank of scores[i] at (rows(i), columns(i)), for i in [begin, end). False at the first NaN, infinite or negative score, whose place `bad` gets.
template <class Place>
bool rank(const float* scores, int64_t begin, int64_t end, const Place& place, const Draw& draw, bool soft, float temperature, uint64_t* out, int64_t* bad) {
  for (int64_t i = begin; i < end; i += W) {
    const int n = static_cast<int>(std::min<int64_t>(W, end - i));
    Vec score{}, key;
    UintVec rows{}, columns{}, random, tie;
    for (int j = 0; j < n; ++j) {
      score[j] = scores[i + j];
      if (!(score[j] >= 0) || std::isinf(score[j])) {
        *bad = i + j;
        return false;
      }
      place(i + j, rows, columns, j);
    }
    keysOf(score, rows, columns, draw, soft, temperature, key, random, tie);
    for (int j = 0; j < n; ++j) out[i + j] = rankAt(key, random, tie, soft, j);
  }
  return true;
}

}  // namespace

Status keepLinks(Backend& backend, const KeepLinks& op) {
  Cpu& cpu = cpuOf(backend);
  const Csr& w = op.links;
  const int64_t links = w.rowOffsets[w.rows], count = static_cast<int64_t>(*op.count);
  int64_t kept = 0;
  for (int64_t k = 0; k < links; ++k) kept += op.keep[k];
  if (count >= kept) return {};
  Scratch<uint64_t> ranks(backend), sorted(backend);
  HEBB_RETURN_IF_ERROR(ranks.allocate(links));
  HEBB_RETURN_IF_ERROR(sorted.allocate(kept));
  const Draw draw{op.seed, static_cast<uint32_t>(*op.update), purposeWord(op.purpose, static_cast<uint32_t>(op.layer))};
  const float temperature = op.temperature ? static_cast<float>(*op.temperature) : 1.f;
  std::atomic<int64_t> bad{-1};
  const int64_t chunks = chunksFor(cpu, links, 4096);
  cpu.team.parallel(chunks, [&](int64_t chunk, int) {
    for (int32_t r = firstRow(w.rowOffsets, w.rows, chunk, chunks), last = firstRow(w.rowOffsets, w.rows, chunk + 1, chunks); r < last; ++r) {
      if (backend.stop) return;
      const auto place = [&](int64_t k, UintVec& rows, UintVec& columns, int lane) {
        rows[lane] = static_cast<uint32_t>(r);
        columns[lane] = static_cast<uint32_t>(w.columnIndices[k]);
      };
      int64_t at = -1;
      // Links already dropped hold no score; their ranks are not read.
      int64_t k = w.rowOffsets[r];
      const int64_t end = w.rowOffsets[r + 1];
      while (k < end) {
        while (k < end && !op.keep[k]) ++k;
        int64_t stop = k;
        while (stop < end && op.keep[stop]) ++stop;
        if (!rank(op.scores, k, stop, place, draw, op.temperature != nullptr, temperature, ranks.data(), &at)) bad = at;
        k = stop;
      }
    }
  });
  if (backend.stop) return {Code::aborted, "stopped while choosing links to keep"};
  if (bad >= 0) {
    const int64_t k = bad;
    const int32_t row = static_cast<int32_t>(std::upper_bound(w.rowOffsets, w.rowOffsets + w.rows + 1, k) - w.rowOffsets) - 1;
    return {Code::nonFinite, "Expected finite weights, got a score of " + std::to_string(op.scores[k]) + " for the link from neuron " +
                                 std::to_string(w.columnIndices[k]) + " to neuron " + std::to_string(row) + " of layer " + std::to_string(op.layer) +
                                 ". Lower the learning rate or look at the data."};
  }
  if (count <= 0) {
    std::fill(op.keep, op.keep + links, uint8_t{0});
    return {};
  }
  int64_t n = 0;
  for (int64_t k = 0; k < links; ++k) {
    if (op.keep[k]) sorted[n++] = ranks[k];
  }
  const uint64_t threshold = thresholdOf(sorted.data(), n, count);
  int64_t above = 0;
  for (int64_t i = 0; i < n; ++i) above += sorted[i] > threshold;
  int64_t equal = count - above;  // of those at the threshold, the first ones stay
  for (int64_t k = 0; k < links; ++k) {
    if (op.keep[k]) op.keep[k] = ranks[k] > threshold || (ranks[k] == threshold && equal-- > 0);
  }
  return {};
}

Status sampleScores(Backend& backend, const SampleScores& op) {
  Scratch<uint64_t> ranks(backend), sorted(backend);
  HEBB_RETURN_IF_ERROR(ranks.allocate(op.n));
  HEBB_RETURN_IF_ERROR(sorted.allocate(op.n));
  op.indices->clear();
  const auto place = [](int64_t i, UintVec& rows, UintVec& columns, int lane) {
    rows[lane] = static_cast<uint32_t>(i >> 32);
    columns[lane] = static_cast<uint32_t>(i);
  };
  int64_t bad = -1;
  if (!rank(op.scores, 0, op.n, place, {op.seed, 0, purposeWord(Purpose::sample, 0)}, true, op.temperature, ranks.data(), &bad)) {
    return {Code::nonFinite, "Expected scores to be finite and not negative, got " + std::to_string(op.scores[bad]) + " at " + std::to_string(bad)};
  }
  if (op.k <= 0) return {};
  std::copy(ranks.data(), ranks.data() + op.n, sorted.data());
  const uint64_t threshold = thresholdOf(sorted.data(), op.n, op.k);
  int64_t above = 0;
  for (int64_t i = 0; i < op.n; ++i) above += sorted[i] > threshold;
  int64_t equal = op.k - above;
  for (int64_t i = 0; i < op.n; ++i) {
    if (ranks[i] > threshold || (ranks[i] == threshold && equal-- > 0)) op.indices->push_back(i);
  }
  return {};
}

}  // namespace hebb::cpu::HEBB_LEVEL
