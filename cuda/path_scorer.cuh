// Scores of all missing links of a layer, row by row, by CH2-L3p or CH3-L3p (hebb/link_prediction.h): the sums of
// cpu/row_scorer.h in its order, for one l of the row after the other a sum over k ascending, times l's factor, so that
// the bits are the CPU's.
//
// A block takes a row i and keeps, in shared memory, a count, a sum and a score for every column, and a factor for
// every output k that shares an input with i; by place where the range of neurons is no larger than the table, else
// hashed. A row that overflows the columns is scored in parts, ranges of columns of half the size; where the outputs
// overflow, they are counted again for each l, range by range. Nothing is O(rows x cols), nor O(cols) per block, and no
// part depends on which thread comes first:
//   1. common neighbours of i and every output k, counted by integer atomics, become factors
//   2. for one l of the row after the other: one k of its column after the other, ascending, adds its factor to the
//      sums of its links, a thread a link, with a barrier between two k; then every place that was reached adds its sum
//      times l's factor to its score, and is emptied
//   3. links of i are cleared
//
// What it costs: rows degree^2 steps with a barrier each, and an addition in shared memory for each path. The links of
// the next k are fetched while those of this one are added, so a step waits for the second-level cache once; five
// blocks a multiprocessor hide some of it. For 1568 x 1568 at 1% that is 0.39 M steps and 6 M additions.
// Roofline: links from L2, 4 bytes a path; additions at 32 a cycle and multiprocessor.
#pragma once

#include "row_scorer.cuh"

namespace hebb::cuda {

namespace path_scoring {

using scoring::kGroup;
using scoring::kGroups;
using scoring::kThreads;
using scoring::Range;

/// Places where the range of neurons is the table, and where it is hashed, which takes a word more for each.
inline constexpr int kColumns = 2048, kHashedColumns = kColumns * 3 / 4;
inline constexpr int kNodes = 2048, kHashedNodes = kNodes / 2;

/// One k of a column: its links and its factor.
struct Step {
  int32_t begin, end;
  float factor;
};

inline constexpr size_t kSharedBytes =
    (3 * kColumns + kNodes) * sizeof(int32_t) + kThreads * sizeof(Step) + 2 * sizeof(int32_t);

/// Where the neurons of a range are.
struct Places {
  Range range;
  int32_t* keys;  // [size] or -1 where no one is; null where the range is the table
  int32_t size;
  int32_t* full;  // [1] entries of a hashed table; above 3/4 of its size: overflow

  __device__ __forceinline__ int32_t hashOf(int32_t node) const {
    return static_cast<int32_t>(
        static_cast<uint64_t>(static_cast<uint32_t>(node) * 0x9E3779B1u) * static_cast<uint32_t>(size) >> 32);
  }
  __device__ __forceinline__ int32_t most() const { return size / 4 * 3; }
  __device__ __forceinline__ bool overflowed() const { return keys && *full > most(); }
  __device__ __forceinline__ int32_t nodeAt(int32_t place) const { return keys ? keys[place] : range.begin + place; }

  /// The place of a neuron of the range, or -1.
  __device__ __forceinline__ int32_t find(int32_t node) const {
    if (!keys) return node - range.begin;
    for (int32_t at = hashOf(node), tries = 0; tries < size; at = at + 1 < size ? at + 1 : 0, ++tries) {
      if (keys[at] == node) return at;
      if (keys[at] < 0) return -1;
    }
    return -1;
  }
  /// The same, put there if it is new; -1 where the table is full.
  __device__ __forceinline__ int32_t enter(int32_t node) const {
    if (!keys) return node - range.begin;
    for (int32_t at = hashOf(node), tries = 0; tries < size; at = at + 1 < size ? at + 1 : 0, ++tries) {
      const int32_t there = atomicCAS(&keys[at], -1, node);
      if (there == node) return at;
      if (there < 0) return atomicAdd(full, 1) < most() ? at : -1;
    }
    return -1;
  }
};

/// The places of a range, cleared by the block; `keys` are used if it is larger than `direct`.
__device__ __forceinline__ Places placesOf(const Range& range, int32_t* keys, int32_t direct, int32_t hashed,
                                           int32_t* full) {
  const bool fits = range.end - range.begin <= direct;
  const Places places{range, fits ? nullptr : keys, fits ? range.end - range.begin : hashed, full};
  if (places.keys) {
    for (int at = static_cast<int>(threadIdx.x); at < hashed; at += kThreads) keys[at] = -1;
  }
  if (threadIdx.x == 0) *full = 0;
  return places;
}

/// What a block keeps.
struct Tables {
  float* scores;        // [kColumns]
  float* sums;          // [kColumns], zero between two l
  int32_t* counts;      // [kColumns], zero between two l
  int32_t* columnKeys;  // [kHashedColumns]: the fourth quarter, as the others are shorter then
  int32_t* nodeWords;   // [kNodes] counts, then factors
  int32_t* nodeKeys;    // [kHashedNodes]: the second half
  Step* steps;          // [kThreads]
  int32_t *fullColumns, *fullNodes;

  __device__ __forceinline__ float factorAt(int32_t place) const { return __int_as_float(nodeWords[place]); }
};

__device__ __forceinline__ Tables tablesOf(unsigned char* shared, bool hashed) {
  int32_t* const words = reinterpret_cast<int32_t*>(shared);
  const int32_t columns = hashed ? kHashedColumns : kColumns;
  Tables tables;
  tables.scores = reinterpret_cast<float*>(words);
  tables.sums = reinterpret_cast<float*>(words + columns);
  tables.counts = words + 2 * columns;
  tables.columnKeys = words + 3 * kHashedColumns;
  tables.nodeWords = words + 3 * kColumns;
  tables.nodeKeys = tables.nodeWords + kHashedNodes;
  tables.steps = reinterpret_cast<Step*>(tables.nodeWords + kNodes);
  tables.fullColumns = reinterpret_cast<int32_t*>(tables.steps + kThreads);
  tables.fullNodes = tables.fullColumns + 1;
  return tables;
}

/// A factor of a path: the square root of c(s, d), s > 0.
__device__ __forceinline__ float factorOf(int32_t common, int32_t degree, bool withInternal) {
  return __fsqrt_rn(scoring::coefficientOf(common, degree, withInternal));
}

/// The factors of the rows k of the range that share a neighbour with row i. The table overflowed where the places say
/// so.
__device__ __forceinline__ Places findFactors(const Topology& t, int32_t i, bool withInternal, const Tables& tables,
                                              const Range& range) {
  const int thread = static_cast<int>(threadIdx.x), group = thread / kGroup, within = thread % kGroup;
  __syncthreads();
  const Places nodes = placesOf(range, tables.nodeKeys, kNodes, kHashedNodes, tables.fullNodes);
  for (int at = thread; at < nodes.size; at += kThreads) tables.nodeWords[at] = 0;
  __syncthreads();
  for (int32_t a = t.rowOffsets[i] + group; a < t.rowOffsets[i + 1]; a += kGroups) {
    const int32_t l = t.columnIndices[a];
    if (nodes.keys && atomicAdd(nodes.full, 0) > nodes.most()) break;
    for (int32_t b = t.columnOffsets[l] + within; b < t.columnOffsets[l + 1]; b += kGroup) {
      const int32_t k = t.rowIndices[b];
      const int32_t place = range.has(k) ? nodes.enter(k) : -1;
      if (place >= 0) atomicAdd(&tables.nodeWords[place], 1);
    }
  }
  __syncthreads();
  if (nodes.overflowed()) return nodes;
  for (int at = thread; at < nodes.size; at += kThreads) {
    const int32_t common = tables.nodeWords[at];
    if (common == 0) continue;
    const int32_t k = nodes.nodeAt(at);
    tables.nodeWords[at] = __float_as_int(factorOf(common, t.rowOffsets[k + 1] - t.rowOffsets[k], withInternal));
  }
  __syncthreads();
  return nodes;
}

/// Adds the factors of the rows k in column l and in the range of `nodes` to their links' sums, k ascending.
__device__ __forceinline__ void addSums(const Topology& t, int32_t l, const Tables& tables, const Places& nodes,
                                        const Places& columns) {
  const int thread = static_cast<int>(threadIdx.x);
  for (int32_t base = t.columnOffsets[l], end = t.columnOffsets[l + 1]; base < end; base += kThreads) {
    const int32_t count = end - base < kThreads ? end - base : kThreads;
    Step mine{0, 0, 0.f};
    if (thread < count) {
      const int32_t k = t.rowIndices[base + thread];
      if (nodes.range.has(k)) mine = {t.rowOffsets[k], t.rowOffsets[k + 1], tables.factorAt(nodes.find(k))};
    }
    __syncthreads();
    tables.steps[thread] = mine;
    __syncthreads();
    const auto linkOf = [&](const Step& step) {
      return step.begin + thread < step.end ? t.columnIndices[step.begin + thread] : -1;
    };
    Step step = tables.steps[0];
    int32_t first = linkOf(step);
    for (int32_t s = 0; s < count; ++s) {
      const Step next = tables.steps[s + 1 < count ? s + 1 : s];
      const int32_t ahead = linkOf(next);
      for (int32_t c = step.begin + thread, j = first; c < step.end;
           c += kThreads, j = c < step.end ? t.columnIndices[c] : -1) {
        const int32_t place = columns.range.has(j) ? columns.enter(j) : -1;
        if (place < 0) continue;
        ++tables.counts[place];
        tables.sums[place] += step.factor;
      }
      __syncthreads();
      step = next;
      first = ahead;
    }
  }
}

/// The scores of row i in the range of columns, in the tables. The places say whether it has too many.
__device__ __forceinline__ Places scorePart(const Topology& t, int32_t i, bool withInternal, const Tables& tables,
                                            const Range& range) {
  const int thread = static_cast<int>(threadIdx.x);
  const Places columns = placesOf(range, tables.columnKeys, kColumns, kHashedColumns, tables.fullColumns);
  for (int at = thread; at < columns.size; at += kThreads) {
    tables.scores[at] = 0.f;
    tables.sums[at] = 0.f;
    tables.counts[at] = 0;
  }
  Places nodes{};
  int32_t width = t.rows;
  for (int32_t a = t.rowOffsets[i]; a < t.rowOffsets[i + 1]; ++a) {
    const int32_t l = t.columnIndices[a];
    for (int32_t begin = 0; begin < t.rows;) {
      const Range wanted{begin, t.rows - begin < width ? t.rows : begin + width};
      if (nodes.range.begin != wanted.begin || nodes.range.end != wanted.end)
        nodes = findFactors(t, i, withInternal, tables, wanted);
      if (nodes.overflowed()) {
        width = scoring::halfOf(wanted.end - wanted.begin);
        continue;
      }
      addSums(t, l, tables, nodes, columns);
      begin = wanted.end;
    }
    if (columns.overflowed()) return columns;
    const int32_t degree = t.columnOffsets[l + 1] - t.columnOffsets[l];
    for (int at = thread; at < columns.size; at += kThreads) {
      const int32_t common = tables.counts[at];
      if (common == 0) continue;
      tables.scores[at] += factorOf(common, degree, withInternal) * tables.sums[at];
      tables.counts[at] = 0;
      tables.sums[at] = 0.f;
    }
  }
  __syncthreads();
  for (int32_t a = t.rowOffsets[i] + thread; a < t.rowOffsets[i + 1]; a += kThreads) {
    const int32_t j = t.columnIndices[a], place = range.has(j) ? columns.find(j) : -1;
    if (place >= 0) tables.scores[place] = 0.f;
  }
  __syncthreads();
  return columns;
}

}  // namespace path_scoring

/// Calls body(column, score) for every missing link of row i with a score; each once, in no order, by any thread.
/// Called by a whole block of scoring::kThreads; `shared` has path_scoring::kSharedBytes.
template <class Body>
__device__ __forceinline__ void scoreRowByPaths(const Topology& t, int32_t i, bool withInternal, unsigned char* shared,
                                                const Body& body) {
  if (t.rowOffsets[i] == t.rowOffsets[i + 1]) return;
  for (int32_t begin = 0, width = t.cols; begin < t.cols;) {
    const path_scoring::Range range{begin, t.cols - begin < width ? t.cols : begin + width};
    const path_scoring::Tables tables =
        path_scoring::tablesOf(shared, range.end - range.begin > path_scoring::kColumns);
    __syncthreads();
    const path_scoring::Places columns = path_scoring::scorePart(t, i, withInternal, tables, range);
    if (columns.overflowed()) {
      width = scoring::halfOf(range.end - range.begin);
      continue;
    }
    for (int at = static_cast<int>(threadIdx.x); at < columns.size; at += scoring::kThreads) {
      if (tables.scores[at] > 0.f) body(columns.nodeAt(at), tables.scores[at]);
    }
    begin = range.end;
  }
}

/// The sparse route: a layer's scores, row by row.
template <bool kByPaths>
struct RowScores {
  static constexpr int kResident = scoring::kResident;
  static constexpr size_t kSharedBytes = kByPaths ? path_scoring::kSharedBytes : scoring::kSharedBytes;
  Topology links;
  bool withInternal;

  /// Calls body(row, column, score) for every missing link with a score; each once, in no order, by any thread. Called
  /// by all blocks of scoring::kThreads; `shared` has kSharedBytes.
  template <class Body>
  __device__ __forceinline__ void each(unsigned char* shared, const Body& body) const {
    for (int64_t row = static_cast<int64_t>(blockIdx.x); row < links.rows; row += static_cast<int64_t>(gridDim.x)) {
      const int32_t i = static_cast<int32_t>(row);
      const auto found = [&](int32_t column, float score) { body(i, column, score); };
      if constexpr (kByPaths) scoreRowByPaths(links, i, withInternal, shared, found);
      else scoreRow(links, i, withInternal, shared, found);
    }
  }
};

}  // namespace hebb::cuda
