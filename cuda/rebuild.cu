// Transposes a layer's links, and brings a layer to a new topology.
//
// Transpose: the links' columns are sorted with their places by row (sort.h: stable, so the rows of a column ascend),
// and the columns' offsets are searched in the sorted keys. No count of links steers a launch, and no column is too
// long. Roofline, L links, C bytes of digits of a column number: 32 L bytes from memory a digit and 24 L besides.
//
// Rebuild: old and new links are both in order, so a link's new place is the number of those that stay before it plus
// the number of new ones before it: two prefix sums and a binary search for each link, no bitmap of rows x cols for any
// size of layer. Arrays move through a copy, since a place is written that another thread may still read. Roofline: 40
// L bytes, and 16 L for each array.
//
// What is written by several kernels is not written at all when an operation before failed (failure.h); transposing
// again what has not changed changes nothing, and a matrix that is made while a replay fails must get its columns, so
// transposing does not ask.
#include "hebb/rebuild.h"

#include "launch.cuh"
#include "scan.h"
#include "search.cuh"
#include "sort.h"

namespace hebb::cuda {
namespace {

/// (column, place by row) of each link.
__global__ void __launch_bounds__(kBlock) columnKeys(Csr links, uint64_t* keys) {
  const int64_t k = element();
  if (k >= links.rowOffsets[links.rows]) return;
  keys[k] = static_cast<uint64_t>(links.columnIndices[k]) << 32 | static_cast<uint64_t>(k);
}

__global__ void __launch_bounds__(kBlock) writeColumns(Csr links, const uint64_t* keys) {
  const int64_t at = element();
  const int32_t count = links.rowOffsets[links.rows];
  if (at < count) {
    const int32_t k = static_cast<int32_t>(keys[at] & 0xffffffffu);
    links.cscSlots[k] = static_cast<int32_t>(at);
    links.rowIndices[at] = rowOf(links.rowOffsets, links.rows, k);
  }
  if (at <= links.cols) links.columnOffsets[at] = lowerBound(keys, 0, count, static_cast<uint64_t>(at) << 32);
}

int64_t larger(int64_t a, int64_t b) { return a > b ? a : b; }

Status transposeLinks(Cuda& cuda, const char* operation, const Csr& links) {
  Scratch<uint64_t> keys(cuda);
  HEBB_RETURN_IF_ERROR(keys.allocate(links.capacity));
  HEBB_RETURN_IF_ERROR(
      launch(cuda, operation, columnKeys, blocksFor(links.capacity), dim3(kBlock), 0, links, keys.data()));
  HEBB_RETURN_IF_ERROR(sortKeys(cuda, operation, keys.data(), nullptr, links.capacity, links.rowOffsets + links.rows,
                                32, bitsOf(links.cols)));
  const int64_t elements = larger(links.capacity, int64_t{links.cols} + 1);
  return launch(cuda, operation, writeColumns, blocksFor(elements), dim3(kBlock), 0, links, keys.data());
}

__global__ void __launch_bounds__(kBlock) keepAll(LinkChanges changes, int32_t capacity, const Failure* failure) {
  if (failed(failure)) return;
  const int64_t k = element();
  if (k < capacity) changes.keep[k] = 1;
  if (k == 0) *changes.newCount = 0;
}

/// The new topology, in the making.
struct Next {
  int32_t* stays;    // [capacity + 1] old links: whether it stays; then how many before it do
  int32_t* fresh;    // [capacity + 1] new links: whether the layer has none there; then how many before it are
  int32_t* offsets;  // [rows + 1]
  int32_t* columns;  // [capacity]
  int32_t* sources;  // [capacity] old place in the arrays, or -1
  __device__ int32_t count(const Csr& links, const LinkChanges& changes) const {
    return stays[links.rowOffsets[links.rows]] + fresh[*changes.newCount];
  }
};

/// A link that was removed and chosen again is an old one that stays.
__global__ void __launch_bounds__(kBlock) markLinks(Csr links, LinkChanges changes, Next next) {
  const int64_t at = element();
  if (at >= links.capacity) return;
  const int32_t added = *changes.newCount, k = static_cast<int32_t>(at);
  int32_t stays = 0, fresh = 0;
  if (k < links.rowOffsets[links.rows]) {
    stays = changes.keep[links.cscSlots[k]];
    if (!stays) {
      const int32_t row = rowOf(links.rowOffsets, links.rows, k), column = links.columnIndices[k];
      const int32_t same = lowerBound(changes.newRows, changes.newColumns, added, row, column);
      stays = same < added && changes.newRows[same] == row && changes.newColumns[same] == column;
    }
  }
  if (k < added) {
    const int32_t row = changes.newRows[k], end = links.rowOffsets[row + 1];
    const int32_t same = lowerBound(links.columnIndices, links.rowOffsets[row], end, changes.newColumns[k]);
    fresh = same == end || links.columnIndices[same] != changes.newColumns[k];
  }
  next.stays[k] = stays;
  next.fresh[k] = fresh;
}

__global__ void __launch_bounds__(kBlock) placeLinks(Csr links, LinkChanges changes, Next next, Failure* failure) {
  const int64_t at = element();
  const int32_t added = *changes.newCount, count = next.count(links, changes);
  if (count > links.capacity) {
    if (at == 0 && !failed(failure)) *failure = {Problem::rebuiltLinks, links.capacity, 0, static_cast<double>(count)};
    return;
  }
  if (at <= links.rows) {
    const int32_t row = static_cast<int32_t>(at);
    next.offsets[row] = next.stays[links.rowOffsets[row]] + next.fresh[lowerBound(changes.newRows, 0, added, row)];
  }
  if (at >= links.capacity) return;
  const int32_t k = static_cast<int32_t>(at);
  if (k < links.rowOffsets[links.rows] && next.stays[k + 1] > next.stays[k]) {
    const int32_t row = rowOf(links.rowOffsets, links.rows, k), column = links.columnIndices[k];
    const int32_t to = next.stays[k] + next.fresh[lowerBound(changes.newRows, changes.newColumns, added, row, column)];
    next.columns[to] = column;
    next.sources[to] = links.cscSlots[k];
  }
  if (k < added && next.fresh[k + 1] > next.fresh[k]) {
    const int32_t row = changes.newRows[k], column = changes.newColumns[k];
    const int32_t to =
        next.fresh[k] +
        next.stays[lowerBound(links.columnIndices, links.rowOffsets[row], links.rowOffsets[row + 1], column)];
    next.columns[to] = column;
    next.sources[to] = -1;
  }
}

/// Links by row come from their old place in the array and go to their new one.
__global__ void __launch_bounds__(kBlock)
    moveValues(const float* array, float* moved, const int32_t* sources, const int32_t* cscSlots, const int32_t* count,
               const Failure* failure) {
  const int64_t at = element();
  if (failed(failure) || at >= *count) return;
  const int32_t from = sources[at];
  moved[cscSlots[at]] = from < 0 ? 0.f : array[from];
}

__global__ void __launch_bounds__(kBlock)
    writeValues(float* array, const float* moved, const int32_t* count, const Failure* failure) {
  const int64_t at = element();
  if (failed(failure) || at >= *count) return;
  array[at] = moved[at];
}

__global__ void __launch_bounds__(kBlock) writeLinks(Csr links, Next next, const Failure* failure) {
  if (failed(failure)) return;
  const int64_t at = element();
  if (at < next.offsets[links.rows]) links.columnIndices[at] = next.columns[at];
  if (at <= links.rows) links.rowOffsets[at] = next.offsets[at];
}

}  // namespace

Status transpose(Backend& backend, const Transpose& op) {
  return transposeLinks(cudaOf(backend), "transpose", op.links);
}

Status beginUpdate(Backend& backend, const BeginUpdate& op) {
  Cuda& cuda = cudaOf(backend);
  return launch(cuda, "beginUpdate", keepAll, blocksFor(op.links.capacity), dim3(kBlock), 0, op.changes,
                op.links.capacity, cuda.failure());
}

Status rebuild(Backend& backend, const Rebuild& op) {
  Cuda& cuda = cudaOf(backend);
  const char* const name = "rebuild";
  const Csr& links = op.links;
  Scratch<int32_t> stays(cuda), fresh(cuda), offsets(cuda), columns(cuda), sources(cuda);
  Scratch<float> moved(cuda);
  HEBB_RETURN_IF_ERROR(stays.allocate(int64_t{links.capacity} + 1));
  HEBB_RETURN_IF_ERROR(fresh.allocate(int64_t{links.capacity} + 1));
  HEBB_RETURN_IF_ERROR(offsets.allocate(int64_t{links.rows} + 1));
  HEBB_RETURN_IF_ERROR(columns.allocate(links.capacity));
  HEBB_RETURN_IF_ERROR(sources.allocate(links.capacity));
  HEBB_RETURN_IF_ERROR(moved.allocate(links.capacity));
  const Next next{stays.data(), fresh.data(), offsets.data(), columns.data(), sources.data()};
  const int64_t blocks = blocksFor(links.capacity),
                blocksWithRows = blocksFor(larger(links.capacity, int64_t{links.rows} + 1));
  HEBB_RETURN_IF_ERROR(launch(cuda, name, markLinks, blocks, dim3(kBlock), 0, links, op.changes, next));
  HEBB_RETURN_IF_ERROR(prefixSums(cuda, name, next.stays, links.capacity));
  HEBB_RETURN_IF_ERROR(prefixSums(cuda, name, next.fresh, links.capacity));
  HEBB_RETURN_IF_ERROR(
      launch(cuda, name, placeLinks, blocksWithRows, dim3(kBlock), 0, links, op.changes, next, cuda.failure()));
  const int32_t* const count = next.offsets + links.rows;
  HEBB_RETURN_IF_ERROR(launch(cuda, name, writeLinks, blocksWithRows, dim3(kBlock), 0, links, next, cuda.failure()));
  HEBB_RETURN_IF_ERROR(transposeLinks(cuda, name, links));
  for (float* array : op.arrays) {
    HEBB_RETURN_IF_ERROR(launch(cuda, name, moveValues, blocks, dim3(kBlock), 0, array, moved.data(), next.sources,
                                links.cscSlots, count, cuda.failure()));
    HEBB_RETURN_IF_ERROR(
        launch(cuda, name, writeValues, blocks, dim3(kBlock), 0, array, moved.data(), count, cuda.failure()));
  }
  return {};
}

}  // namespace hebb::cuda
