// Every element gets its rank, the smallest rank that wins is found (ranks.h), and of the elements that share it the
// first ones win. Nothing depends on which thread is first.
#include "hebb/sample.h"

#include <cmath>
#include <utility>
#include <vector>

#include "cpu.h"
#include "level.h"
#include "ranks.h"

namespace hebb::cpu::HEBB_LEVEL {
namespace {

/// Whether a score can be ranked: finite and not negative.
bool valid(float score) { return score >= 0 && !std::isinf(score); }

/// Ranks elements W at a time.
class Ranking {
 public:
  Ranking(const Draw& draw, bool soft, float temperature, uint64_t* ranks)
      : draw_(draw), soft_(soft), temperature_(temperature), ranks_(ranks) {}
  /// ranks[i] = rank of `score` at (row, column), at the latest after finish().
  void push(int64_t i, uint32_t row, uint32_t column, float score) {
    to_[n_] = i;
    rows_[n_] = row;
    columns_[n_] = column;
    scores_[n_] = score;
    if (++n_ == W) finish();
  }
  void finish() {
    Vec score, key;
    UintVec rows, columns, random, tie;
    __builtin_memcpy(&score, scores_, sizeof score);
    __builtin_memcpy(&rows, rows_, sizeof rows);
    __builtin_memcpy(&columns, columns_, sizeof columns);
    keysOf(score, rows, columns, draw_, soft_, temperature_, key, random, tie);
    uint32_t upper[W], lower[W];
    ranksOf(key, random, tie, soft_, upper, lower);
    for (int lane = 0; lane < n_; ++lane) ranks_[to_[lane]] = static_cast<uint64_t>(upper[lane]) << 32 | lower[lane];
    n_ = 0;
  }

 private:
  const Draw draw_;
  const bool soft_;
  const float temperature_;
  uint64_t* const ranks_;
  int n_ = 0;
  int64_t to_[W];
  uint32_t rows_[W] = {}, columns_[W] = {};
  float scores_[W] = {};
};

}  // namespace

Status keepLinks(Backend& backend, const KeepLinks& op) {
  Cpu& cpu = cpuOf(backend);
  const Csr& w = op.links;
  const int64_t links = w.rowOffsets[w.rows], count = static_cast<int64_t>(*op.count);
  int64_t kept = 0;
  for (int64_t k = 0; k < links; ++k) kept += op.keep[k];
  if (count >= kept) return {};
  Scratch<uint64_t> ranks(backend);  // 0 for links already dropped, which hold no score
  HEBB_RETURN_IF_ERROR(ranks.allocate(links));
  const Draw draw{op.seed, static_cast<uint32_t>(*op.update), purposeWord(op.purpose, static_cast<uint32_t>(op.layer))};
  const float temperature = op.temperature ? static_cast<float>(*op.temperature) : 1.f;
  std::atomic<int64_t> bad{-1};
  const int64_t chunks = chunksFor(cpu, links, 4096) * 4;
  cpu.team.parallel(chunks, [&](int64_t chunk, int) {
    Ranking ranking(draw, op.temperature != nullptr, temperature, ranks.data());
    for (int32_t c = firstRow(w.columnOffsets, w.cols, chunk, chunks),
                 last = firstRow(w.columnOffsets, w.cols, chunk + 1, chunks);
         c < last && !backend.stop; ++c) {
      for (int32_t k = w.columnOffsets[c]; k < w.columnOffsets[c + 1]; ++k) {
        if (!op.keep[k]) continue;
        if (!valid(op.scores[k])) bad = k;
        ranking.push(k, static_cast<uint32_t>(w.rowIndices[k]), static_cast<uint32_t>(c), op.scores[k]);
      }
    }
    ranking.finish();
  });
  if (backend.stop) return {Code::aborted, "stopped while choosing links to keep"};
  if (bad >= 0) {
    const int64_t k = bad;
    const int32_t column =
        static_cast<int32_t>(std::upper_bound(w.columnOffsets, w.columnOffsets + w.cols + 1, k) - w.columnOffsets) - 1;
    return {Code::nonFinite, "Expected finite weights, got a score of " + std::to_string(op.scores[k]) +
                                 " for the link from neuron " + std::to_string(column) + " to neuron " +
                                 std::to_string(w.rowIndices[k]) + " of layer " + std::to_string(op.layer) +
                                 ". Lower the learning rate or look at the data."};
  }
  if (count <= 0) {
    std::fill(op.keep, op.keep + links, uint8_t{0});
    return {};
  }
  uint64_t threshold;
  HEBB_RETURN_IF_ERROR(thresholdOf(cpu, ranks.data(), links, count, &threshold));
  std::vector<int64_t> equalOf(static_cast<size_t>(chunks));
  std::atomic<int64_t> above{0};
  const auto eachChunk = [&](const auto& body) {
    cpu.team.parallel(chunks,
                      [&](int64_t chunk, int) { body(chunk, links * chunk / chunks, links * (chunk + 1) / chunks); });
  };
  eachChunk([&](int64_t chunk, int64_t begin, int64_t end) {
    int64_t more = 0, equal = 0;
    for (int64_t k = begin; k < end; ++k) {
      more += ranks[k] > threshold;
      equal += op.keep[k] & (ranks[k] == threshold);
    }
    above += more;
    equalOf[static_cast<size_t>(chunk)] = equal;
  });
  // Of those at the threshold, the first ones stay.
  int64_t left = count - above;
  for (int64_t& equal : equalOf) left -= std::exchange(equal, std::clamp<int64_t>(left, 0, equal));
  eachChunk([&](int64_t chunk, int64_t begin, int64_t end) {
    int64_t equal = equalOf[static_cast<size_t>(chunk)];
    for (int64_t k = begin; k < end; ++k)
      op.keep[k] &= ranks[k] > threshold || (ranks[k] == threshold && op.keep[k] && equal-- > 0);
  });
  return {};
}

Status sampleScores(Backend& backend, const SampleScores& op) {
  Scratch<uint64_t> ranks(backend);
  HEBB_RETURN_IF_ERROR(ranks.allocate(op.n));
  op.indices->clear();
  Ranking ranking({op.seed, 0, purposeWord(kSampleDraws, 0)}, true, op.temperature, ranks.data());
  for (int64_t i = 0; i < op.n; ++i) {
    if (!valid(op.scores[i]))
      return {Code::nonFinite, "Expected scores to be finite and not negative, got " + std::to_string(op.scores[i]) +
                                   " at " + std::to_string(i)};
    ranking.push(i, static_cast<uint32_t>(i >> 32), static_cast<uint32_t>(i), op.scores[i]);
  }
  ranking.finish();
  if (op.k <= 0) return {};
  uint64_t threshold;
  HEBB_RETURN_IF_ERROR(thresholdOf(cpuOf(backend), ranks.data(), op.n, op.k, &threshold));
  int64_t above = 0;
  for (int64_t i = 0; i < op.n; ++i) above += ranks[i] > threshold;
  int64_t equal = op.k - above;
  for (int64_t i = 0; i < op.n; ++i) {
    if (ranks[i] > threshold || (ranks[i] == threshold && equal-- > 0)) op.indices->push_back(i);
  }
  return {};
}

}  // namespace hebb::cpu::HEBB_LEVEL
