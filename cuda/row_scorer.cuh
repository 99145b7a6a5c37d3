// Scores of all missing links of a layer, row by row, by CH2-L3n or CH3-L3n (hebb/link_prediction.h): the sums of
// cpu/row_scorer.h in its order, k ascending, then l ascending, so that the bits are the CPU's.
//
// A block takes a row i and keeps, in shared memory, a table of the columns that paths of length three lead to. A table
// is indexed by the column itself where the range of columns is no larger than the table, else it is a hash table; a
// row that overflows it is scored in parts, ranges of columns of half the size. Nothing is O(rows x cols), nor O(cols)
// per block, and no part depends on which thread comes first:
//   1. common neighbours of i and every output k, counted by integer atomics in a second table (in parts of k,
//      ascending, if it overflows)
//   2. the columns of these k enter the table
//   3. first sum: a thread has a column j and walks its links, so k ascends
//   4. second sum: for one l of the row after the other, paths l - u - j are counted by integer atomics; then they are
//      walked again, and the thread that takes a count away, one for each j, adds the coefficient
//   5. links of i are cleared
// Groups of eight lanes share a node's list, as lists of a sparse layer are short.
//
// What it costs: all paths of length three twice, an atomic in shared memory each, and every column's links once for
// every row that reaches it, a look-up each. For the first update of 1568 x 1568 at 1%, 30% removed, that is 2 x 2 M
// and 1.5 M; the barriers of 4. and the fetches that wait for one another (offsets, indices, offsets again) are what
// limits it. Denser layers pay degree^3 for each row: the dense route (tile_scorer.cuh) is for them. Roofline: atomics
// and look-ups at 32 a cycle and multiprocessor, links from L2.
#pragma once

#include "hebb/link_prediction.h"
#include "launch.cuh"

namespace hebb::cuda {

/// The links of a layer in both views, without values. Device memory.
struct Topology {
  int32_t rows, cols;
  const int32_t *rowOffsets, *columnIndices, *columnOffsets, *rowIndices;
};

namespace scoring {

inline constexpr int kThreads = 128, kGroup = 8, kGroups = kThreads / kGroup;
// Blocks whose tables fit a multiprocessor at once: ptxas need not save more registers than that takes.
inline constexpr int kResident = 5;
/// Columns in a table, and nodes in the other. Powers of two; with a histogram beside them they fit into 48 KiB.
inline constexpr int kColumns = 2048, kNodes = 2048;
inline constexpr int kMostHashed = 3 * kColumns / 4;  // fuller, and look-ups get long
static_assert(kColumns == kNodes, "one look-up serves both");

/// What a block keeps. The table of nodes is done when counts are needed.
struct Tables {
  int32_t* columns;     // [kColumns] or -1
  float* scores;        // [kColumns]
  int32_t* nodes;       // [kNodes] or -1
  int32_t* nodeCounts;  // [kNodes]
  int32_t* counts;      // [kColumns], in the place of `nodes`
  int32_t* full;        // [1] entries; above kMostHashed: overflow
};

inline constexpr size_t kSharedBytes = (2 * kColumns + 2 * kNodes) * sizeof(int32_t) + 16;

__device__ __forceinline__ Tables tablesOf(unsigned char* shared) {
  int32_t* const words = reinterpret_cast<int32_t*>(shared);
  return {words,
          reinterpret_cast<float*>(words + kColumns),
          words + 2 * kColumns,
          words + 2 * kColumns + kNodes,
          words + 2 * kColumns,
          words + 2 * kColumns + 2 * kNodes};
}

/// A range of neurons that a table covers.
struct Range {
  int32_t begin, end;
  __device__ __forceinline__ bool direct() const { return end - begin <= kColumns; }
  __device__ __forceinline__ bool has(int32_t node) const { return node >= begin && node < end; }
};

__device__ __forceinline__ int32_t hashOf(int32_t node) {
  return static_cast<int32_t>(static_cast<uint32_t>(node) * 0x9E3779B1u >> 21);
}
static_assert(kColumns == 1 << 11, "hashOf gives 11 bits");

/// The place of a neuron of the range in the table, or -1.
__device__ __forceinline__ int32_t find(const int32_t* keys, const Range& range, int32_t node) {
  if (range.direct()) return keys[node - range.begin] < 0 ? -1 : node - range.begin;
  for (int32_t at = hashOf(node), tries = 0; tries < kColumns; at = (at + 1) & (kColumns - 1), ++tries) {
    if (keys[at] == node) return at;
    if (keys[at] < 0) return -1;
  }
  return -1;
}

/// The same, put there if it is new; -1 where the table is full.
__device__ __forceinline__ int32_t enter(int32_t* keys, const Range& range, int32_t node, int32_t* full) {
  if (range.direct()) {
    atomicExch(&keys[node - range.begin], node);
    return node - range.begin;
  }
  for (int32_t at = hashOf(node), tries = 0; tries < kColumns; at = (at + 1) & (kColumns - 1), ++tries) {
    const int32_t there = atomicCAS(&keys[at], -1, node);
    if (there == node) return at;
    if (there < 0) return atomicAdd(full, 1) < kMostHashed ? at : -1;
  }
  return -1;
}

/// Whether a table overflowed; for threads that may be filling it.
__device__ __forceinline__ bool overflows(int32_t* full) { return atomicAdd(full, 0) > kMostHashed; }

/// c(s, d) for s > 0.
__device__ __forceinline__ float coefficientOf(int32_t common, int32_t degree, bool withInternal) {
  const int32_t external = degree - common;
  return (withInternal ? static_cast<float>(common + 1) : 1.f) / static_cast<float>(external > 1 ? external : 1);
}

__device__ __forceinline__ int32_t halfOf(int32_t width) { return width / 2 + width % 2; }

/// Counts the common neighbours of row i with the rows k of the range. False where the table overflowed.
__device__ __forceinline__ bool countNodes(const Topology& t, int32_t i, const Tables& tables, const Range& range) {
  const int thread = static_cast<int>(threadIdx.x), group = thread / kGroup, within = thread % kGroup;
  for (int at = thread; at < kNodes; at += kThreads) {
    tables.nodes[at] = -1;
    tables.nodeCounts[at] = 0;
  }
  if (thread == 0) *tables.full = 0;
  __syncthreads();
  for (int32_t a = t.rowOffsets[i] + group; a < t.rowOffsets[i + 1]; a += kGroups) {
    const int32_t l = t.columnIndices[a];
    if (!range.direct() && overflows(tables.full)) break;
    for (int32_t b = t.columnOffsets[l] + within; b < t.columnOffsets[l + 1]; b += kGroup) {
      const int32_t k = t.rowIndices[b];
      if (k == i || !range.has(k)) continue;
      const int32_t place = enter(tables.nodes, range, k, tables.full);
      if (place >= 0) atomicAdd(&tables.nodeCounts[place], 1);
    }
  }
  __syncthreads();
  return *tables.full <= kMostHashed;
}

/// Puts the columns of the counted rows into their table. False where it overflowed.
__device__ __forceinline__ bool enterColumns(const Topology& t, const Tables& tables, const Range& range,
                                             int32_t* full) {
  const int thread = static_cast<int>(threadIdx.x), group = thread / kGroup, within = thread % kGroup;
  for (int at = group; at < kNodes; at += kGroups) {
    const int32_t k = tables.nodes[at];
    if (k < 0) continue;
    if (!range.direct() && overflows(full)) break;
    for (int32_t b = t.rowOffsets[k] + within; b < t.rowOffsets[k + 1]; b += kGroup) {
      const int32_t j = t.columnIndices[b];
      if (range.has(j)) enter(tables.columns, range, j, full);
    }
  }
  __syncthreads();
  return *full <= kMostHashed;
}

/// Adds to each column's score what the rows k of the range give, in their order.
__device__ __forceinline__ void addFirstSum(const Topology& t, int32_t i, bool withInternal, const Tables& tables,
                                            const Range& range) {
  for (int at = static_cast<int>(threadIdx.x); at < kColumns; at += kThreads) {
    const int32_t j = tables.columns[at];
    if (j < 0) continue;
    float sum = tables.scores[at];
    for (int32_t b = t.columnOffsets[j]; b < t.columnOffsets[j + 1]; ++b) {
      const int32_t k = t.rowIndices[b];
      if (k == i || !range.has(k)) continue;
      const int32_t place = find(tables.nodes, range, k);
      if (place >= 0)
        sum += coefficientOf(tables.nodeCounts[place], t.rowOffsets[k + 1] - t.rowOffsets[k], withInternal);
    }
    tables.scores[at] = sum;
  }
  __syncthreads();
}

/// Calls body(place) for every path from l over a row other than i to a column of the table. A path that ends at l or
/// at another link of i may be among them: their scores are cleared in the end.
template <class Body>
__device__ __forceinline__ void eachPath(const Topology& t, int32_t i, int32_t l, const Tables& tables,
                                         const Range& range, const Body& body) {
  const int thread = static_cast<int>(threadIdx.x), group = thread / kGroup, within = thread % kGroup;
  for (int32_t a = t.columnOffsets[l] + group; a < t.columnOffsets[l + 1]; a += kGroups) {
    const int32_t u = t.rowIndices[a];
    if (u == i) continue;
    for (int32_t b = t.rowOffsets[u] + within; b < t.rowOffsets[u + 1]; b += kGroup) {
      const int32_t j = t.columnIndices[b];
      if (!range.has(j)) continue;
      const int32_t place = find(tables.columns, range, j);
      if (place >= 0) body(place);
    }
  }
}

__device__ __forceinline__ void addSecondSum(const Topology& t, int32_t i, bool withInternal, const Tables& tables,
                                             const Range& range) {
  for (int at = static_cast<int>(threadIdx.x); at < kColumns; at += kThreads) tables.counts[at] = 0;
  __syncthreads();
  for (int32_t a = t.rowOffsets[i]; a < t.rowOffsets[i + 1]; ++a) {
    const int32_t l = t.columnIndices[a], degree = t.columnOffsets[l + 1] - t.columnOffsets[l];
    eachPath(t, i, l, tables, range, [&](int32_t place) { atomicAdd(&tables.counts[place], 1); });
    __syncthreads();
    eachPath(t, i, l, tables, range, [&](int32_t place) {
      const int32_t common = atomicExch(&tables.counts[place], 0);
      if (common > 0) tables.scores[place] += coefficientOf(common, degree, withInternal);
    });
    __syncthreads();
  }
}

/// The scores of row i in the range of columns, in the tables. False where it has too many.
__device__ __forceinline__ bool scorePart(const Topology& t, int32_t i, bool withInternal, const Tables& tables,
                                          const Range& range) {
  const int thread = static_cast<int>(threadIdx.x);
  for (int at = thread; at < kColumns; at += kThreads) {
    tables.columns[at] = -1;
    tables.scores[at] = 0.f;
  }
  // Entries in the table of columns are counted behind those in the table of nodes.
  int32_t* const full = tables.full + 1;
  if (thread == 0) *full = 0;
  for (int32_t begin = 0, width = t.rows; begin < t.rows;) {
    const Range nodes{begin, t.rows - begin < width ? t.rows : begin + width};
    __syncthreads();
    if (!countNodes(t, i, tables, nodes)) {
      width = halfOf(nodes.end - nodes.begin);
      continue;
    }
    if (!enterColumns(t, tables, range, full)) return false;
    addFirstSum(t, i, withInternal, tables, nodes);
    begin = nodes.end;
  }
  addSecondSum(t, i, withInternal, tables, range);
  for (int32_t a = t.rowOffsets[i] + thread; a < t.rowOffsets[i + 1]; a += kThreads) {
    const int32_t j = t.columnIndices[a], place = range.has(j) ? find(tables.columns, range, j) : -1;
    if (place >= 0) tables.scores[place] = 0.f;
  }
  __syncthreads();
  return true;
}

}  // namespace scoring

/// Calls body(column, score) for every missing link of row i with a score; each once, in no order, by any thread.
/// Called by a whole block of scoring::kThreads; `shared` has scoring::kSharedBytes.
template <class Body>
__device__ __forceinline__ void scoreRow(const Topology& t, int32_t i, bool withInternal, unsigned char* shared,
                                         const Body& body) {
  if (t.rowOffsets[i] == t.rowOffsets[i + 1]) return;
  const scoring::Tables tables = scoring::tablesOf(shared);
  for (int32_t begin = 0, width = t.cols; begin < t.cols;) {
    const scoring::Range range{begin, t.cols - begin < width ? t.cols : begin + width};
    __syncthreads();
    if (!scoring::scorePart(t, i, withInternal, tables, range)) {
      width = scoring::halfOf(range.end - range.begin);
      continue;
    }
    for (int at = static_cast<int>(threadIdx.x); at < scoring::kColumns; at += scoring::kThreads) {
      if (tables.scores[at] > 0.f) body(tables.columns[at], tables.scores[at]);
    }
    begin = range.end;
  }
}

}  // namespace hebb::cuda
