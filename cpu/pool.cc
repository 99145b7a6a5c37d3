// Historical weights: in each row the links of the layer and those of its pool ascend, so that one merge finds what
// both have and what only one has. Chunks count first and write then: new links are in order on any number of threads.
#include "hebb/pool.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "cpu.h"

namespace hebb::cpu {
namespace {

/// Calls body(row, place in a or -1, place in b or -1) for every link of either, by row, then column.
template <class Body>
void eachOfEither(const Csr& a, const Csr& b, int32_t first, int32_t last, const Body& body) {
  for (int32_t r = first; r < last; ++r) {
    int32_t i = a.rowOffsets[r], j = b.rowOffsets[r];
    const int32_t aEnd = a.rowOffsets[r + 1], bEnd = b.rowOffsets[r + 1];
    while (i < aEnd || j < bEnd) {
      const int32_t column = i < aEnd ? a.columnIndices[i] : INT32_MAX,
                    other = j < bEnd ? b.columnIndices[j] : INT32_MAX;
      body(r, column <= other ? i : -1, other <= column ? j : -1);
      i += column <= other;
      j += other <= column;
    }
  }
}

/// Calls body(chunk, first row, last row) in parallel.
template <class Body>
void eachChunk(Cpu& cpu, const Pool& pool, int64_t chunks, const Body& body) {
  const Csr& w = pool.links;
  cpu.team.parallel(chunks, [&](int64_t chunk, int) {
    body(chunk, firstRow(w.rowOffsets, w.rows, chunk, chunks), firstRow(w.rowOffsets, w.rows, chunk + 1, chunks));
  });
}

int64_t chunksOf(const Cpu& cpu, const Pool& pool) {
  return chunksFor(cpu, pool.links.rowOffsets[pool.links.rows], 8192);
}

}  // namespace

Status openPool(Backend& backend, const OpenPool& op) {
  Cpu& cpu = cpuOf(backend);
  const Csr &w = op.links, &all = op.pool.links;
  std::fill(op.pool.keep, op.pool.keep + all.rowOffsets[all.rows], uint8_t{1});
  eachChunk(cpu, op.pool, chunksOf(cpu, op.pool), [&](int64_t, int32_t first, int32_t last) {
    eachOfEither(w, all, first, last, [&](int32_t, int32_t k, int32_t p) {
      if (k >= 0 && p >= 0) op.pool.values[all.cscSlots[p]] = op.values[w.cscSlots[k]];
    });
  });
  return {};
}

Status chooseFromPool(Backend& backend, const ChooseFromPool& op) {
  Cpu& cpu = cpuOf(backend);
  const Csr &w = op.links, &all = op.pool.links;
  const auto chosen = [&](int32_t p) { return p >= 0 && op.pool.keep[all.cscSlots[p]]; };
  const int64_t chunks = chunksOf(cpu, op.pool);
  // Of a chunk: links that are chosen, and missing ones of them.
  std::vector<std::pair<int64_t, int64_t>> counts(static_cast<size_t>(chunks));
  eachChunk(cpu, op.pool, chunks, [&](int64_t chunk, int32_t first, int32_t last) {
    int64_t links = 0, fresh = 0;
    eachOfEither(w, all, first, last, [&](int32_t, int32_t k, int32_t p) {
      links += chosen(p);
      fresh += chosen(p) && k < 0;
    });
    counts[static_cast<size_t>(chunk)] = {links, fresh};
  });
  int64_t links = 0, fresh = 0;
  for (auto& [ofChunk, start] : counts) {
    links += ofChunk;
    fresh += std::exchange(start, fresh);
  }
  if (links > w.capacity)
    return {Code::invalidArgument,
            "Expected at most " + std::to_string(w.capacity) + " links, got " + std::to_string(links)};
  eachChunk(cpu, op.pool, chunks, [&](int64_t chunk, int32_t first, int32_t last) {
    int64_t at = counts[static_cast<size_t>(chunk)].second;
    eachOfEither(w, all, first, last, [&](int32_t row, int32_t k, int32_t p) {
      if (k >= 0) {
        op.changes.keep[w.cscSlots[k]] = chosen(p);
      } else if (chosen(p)) {
        op.changes.newRows[at] = row;
        op.changes.newColumns[at++] = all.columnIndices[p];
      }
    });
  });
  *op.changes.newCount = static_cast<int32_t>(fresh);
  return {};
}

Status restoreWeights(Backend& backend, const RestoreWeights& op) {
  Cpu& cpu = cpuOf(backend);
  const Csr &w = op.links, &all = op.pool.links;
  eachChunk(cpu, op.pool, chunksOf(cpu, op.pool), [&](int64_t, int32_t first, int32_t last) {
    eachOfEither(w, all, first, last, [&](int32_t, int32_t k, int32_t p) {
      if (k >= 0 && p >= 0) op.values[w.cscSlots[k]] = op.pool.values[all.cscSlots[p]];
    });
  });
  return {};
}

}  // namespace hebb::cpu
