// Which links were ever active, as a sorted list or as bits, and counts of links for reports and for CHT's early stop.
// The list is merged from its end, in place, by one thread; bits are set by all, each with rows of its own.
#include "hebb/history.h"

#include <algorithm>
#include <atomic>
#include <bit>

#include "cpu.h"

namespace hebb::cpu {
namespace {

Status uniteBits(Cpu& cpu, const UniteLinks& op) {
  const Csr& w = op.links;
  const int64_t words = UniteLinks::wordsOf(w.cols);
  const int64_t chunks = chunksFor(cpu, w.rowOffsets[w.rows], 16384);
  std::atomic<int64_t> fresh{0};
  cpu.team.parallel(chunks, [&](int64_t chunk, int) {
    const int32_t last = firstRow(w.rowOffsets, w.rows, chunk + 1, chunks);
    int64_t added = 0;
    for (int32_t r = firstRow(w.rowOffsets, w.rows, chunk, chunks); r < last; ++r) {
      uint64_t* row = op.bits + r * words;
      for (int32_t k = w.rowOffsets[r], end = w.rowOffsets[r + 1]; k < end;) {
        const uint32_t word = static_cast<uint32_t>(w.columnIndices[k]) / 64;
        uint64_t links = 0;
        for (; k < end && static_cast<uint32_t>(w.columnIndices[k]) / 64 == word; ++k) {
          links |= uint64_t{1} << static_cast<uint32_t>(w.columnIndices[k]) % 64;
        }
        added += std::popcount(links & ~row[word]);
        row[word] |= links;
      }
    }
    fresh += added;
  });
  *op.count += fresh;
  return {};
}

}  // namespace

Status uniteLinks(Backend& backend, const UniteLinks& op) {
  if (op.bits) return uniteBits(cpuOf(backend), op);
  const Csr& w = op.links;
  const auto member = [&](int32_t row, int32_t k) {
    return static_cast<uint64_t>(row) * static_cast<uint64_t>(w.cols) + static_cast<uint32_t>(w.columnIndices[k]);
  };
  // First count the union, then merge from the back, in place.
  const int64_t old = *op.count;
  int64_t fresh = 0, i = 0;
  for (int32_t r = 0; r < w.rows; ++r) {
    for (int32_t k = w.rowOffsets[r]; k < w.rowOffsets[r + 1]; ++k) {
      const uint64_t link = member(r, k);
      while (i < old && op.ever[i] < link) ++i;
      fresh += i == old || op.ever[i] != link;
    }
  }
  if (old + fresh > op.capacity) {
    return {Code::invalidArgument, "Expected room for " + std::to_string(old + fresh) + " links in the history, got " +
                                       std::to_string(op.capacity)};
  }
  *op.count = old + fresh;
  int64_t out = old + fresh - 1;
  i = old - 1;
  for (int32_t r = w.rows - 1; r >= 0 && fresh > 0; --r) {
    for (int32_t k = w.rowOffsets[r + 1] - 1; k >= w.rowOffsets[r] && fresh > 0; --k) {
      const uint64_t link = member(r, k);
      while (i >= 0 && op.ever[i] > link) op.ever[out--] = op.ever[i--];
      if (i >= 0 && op.ever[i] == link) continue;
      op.ever[out--] = link;
      --fresh;
    }
  }
  return {};
}

Status returnedLinks(Backend&, const ReturnedLinks& op) {
  const Csr& w = op.links;
  const int32_t fresh = *op.changes.newCount;
  int32_t returned = 0;
  for (int32_t n = 0; n < fresh; ++n) {
    const int32_t row = op.changes.newRows[n], column = op.changes.newColumns[n];
    const int32_t *begin = w.columnIndices + w.rowOffsets[row], *end = w.columnIndices + w.rowOffsets[row + 1],
                  *place = std::lower_bound(begin, end, column);
    returned += place < end && *place == column && !op.changes.keep[w.cscSlots[place - w.columnIndices]];
  }
  op.counts[0] = returned;
  op.counts[1] = fresh;
  return {};
}

Status activeNeurons(Backend&, const ActiveNeurons& op) {
  const Csr& w = op.links;
  int32_t inputs = 0, outputs = 0;
  for (int32_t c = 0; c < w.cols; ++c) inputs += w.columnOffsets[c + 1] > w.columnOffsets[c];
  for (int32_t r = 0; r < w.rows; ++r) outputs += w.rowOffsets[r + 1] > w.rowOffsets[r];
  op.counts[0] = inputs;
  op.counts[1] = outputs;
  op.counts[2] = w.rowOffsets[w.rows];
  return {};
}

}  // namespace hebb::cpu
