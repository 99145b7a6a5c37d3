// Pruned links that may return with the weights they had.
//
// A thread has a link of the layer or of the pool and looks for it in the other by binary search in its row; a prefix
// sum over the pool gives new links their places. Roofline, L links, P in the pool: 16 L + 9 P bytes; the searches stay
// in L2.
#include "hebb/pool.h"

#include "launch.cuh"
#include "scan.h"
#include "search.cuh"

namespace hebb::cuda {
namespace {

/// The place of (row, column) among the links, or -1.
__device__ __forceinline__ int32_t placeOf(const Csr& links, int32_t row, int32_t column) {
  const int32_t end = links.rowOffsets[row + 1],
                place = lowerBound(links.columnIndices, links.rowOffsets[row], end, column);
  return place < end && links.columnIndices[place] == column ? place : -1;
}

/// The place in `to` of the link at place k of `from`, or -1.
__device__ __forceinline__ int32_t sameLink(const Csr& from, int32_t k, const Csr& to) {
  return placeOf(to, rowOf(from.rowOffsets, from.rows, k), from.columnIndices[k]);
}

__global__ void __launch_bounds__(kBlock) keepPool(Pool pool, const Failure* failure) {
  const int64_t at = element();
  if (!failed(failure) && at < pool.links.rowOffsets[pool.links.rows]) pool.keep[at] = 1;
}

__global__ void __launch_bounds__(kBlock) copyToPool(OpenPool op, const Failure* failure) {
  const int64_t at = element();
  const Csr& w = op.links;
  if (failed(failure) || at >= w.rowOffsets[w.rows]) return;
  const int32_t k = static_cast<int32_t>(at), p = sameLink(w, k, op.pool.links);
  if (p >= 0) op.pool.values[op.pool.links.cscSlots[p]] = op.values[w.cscSlots[k]];
}

/// Of each link in the pool: whether it is chosen, and whether it is so and missing.
__global__ void __launch_bounds__(kBlock) markChosen(ChooseFromPool op, int32_t* chosen, int32_t* fresh) {
  const int64_t at = element();
  const Csr& all = op.pool.links;
  if (at >= all.capacity) return;
  int32_t isChosen = 0, isFresh = 0;
  if (at < all.rowOffsets[all.rows]) {
    const int32_t p = static_cast<int32_t>(at);
    isChosen = op.pool.keep[all.cscSlots[p]];
    isFresh = isChosen && sameLink(all, p, op.links) < 0;
  }
  chosen[at] = isChosen;
  fresh[at] = isFresh;
}

__global__ void __launch_bounds__(kBlock)
    writeChanges(ChooseFromPool op, const int32_t* chosen, const int32_t* fresh, Failure* failure) {
  const int64_t at = element();
  const Csr &w = op.links, &all = op.pool.links;
  if (chosen[all.capacity] > w.capacity) {
    if (at == 0 && !failed(failure))
      *failure = {Problem::pooledLinks, w.capacity, 0, static_cast<double>(chosen[all.capacity])};
    return;
  }
  if (failed(failure)) return;
  if (at == 0) *op.changes.newCount = fresh[all.capacity];
  if (at < w.rowOffsets[w.rows]) {
    const int32_t k = static_cast<int32_t>(at), p = sameLink(w, k, all);
    op.changes.keep[w.cscSlots[k]] = p >= 0 && op.pool.keep[all.cscSlots[p]];
  }
  if (at < all.rowOffsets[all.rows] && fresh[at + 1] > fresh[at]) {
    const int32_t p = static_cast<int32_t>(at);
    op.changes.newRows[fresh[p]] = rowOf(all.rowOffsets, all.rows, p);
    op.changes.newColumns[fresh[p]] = all.columnIndices[p];
  }
}

__global__ void __launch_bounds__(kBlock) copyFromPool(RestoreWeights op, const Failure* failure) {
  const int64_t at = element();
  const Csr& w = op.links;
  if (failed(failure) || at >= w.rowOffsets[w.rows]) return;
  const int32_t k = static_cast<int32_t>(at), p = sameLink(w, k, op.pool.links);
  if (p >= 0) op.values[w.cscSlots[k]] = op.pool.values[op.pool.links.cscSlots[p]];
}

}  // namespace

Status openPool(Backend& backend, const OpenPool& op) {
  Cuda& cuda = cudaOf(backend);
  const char* const name = "openPool";
  HEBB_RETURN_IF_ERROR(
      launch(cuda, name, keepPool, blocksFor(op.pool.links.capacity), dim3(kBlock), 0, op.pool, cuda.failure()));
  return launch(cuda, name, copyToPool, blocksFor(op.links.capacity), dim3(kBlock), 0, op, cuda.failure());
}

Status chooseFromPool(Backend& backend, const ChooseFromPool& op) {
  Cuda& cuda = cudaOf(backend);
  const char* const name = "chooseFromPool";
  const int64_t all = op.pool.links.capacity, links = op.links.capacity;
  Scratch<int32_t> chosen(cuda), fresh(cuda);
  HEBB_RETURN_IF_ERROR(chosen.allocate(all + 1));
  HEBB_RETURN_IF_ERROR(fresh.allocate(all + 1));
  HEBB_RETURN_IF_ERROR(
      launch(cuda, name, markChosen, blocksFor(all), dim3(kBlock), 0, op, chosen.data(), fresh.data()));
  HEBB_RETURN_IF_ERROR(prefixSums(cuda, name, chosen.data(), all));
  HEBB_RETURN_IF_ERROR(prefixSums(cuda, name, fresh.data(), all));
  return launch(cuda, name, writeChanges, blocksFor(all > links ? all : links), dim3(kBlock), 0, op, chosen.data(),
                fresh.data(), cuda.failure());
}

Status restoreWeights(Backend& backend, const RestoreWeights& op) {
  Cuda& cuda = cudaOf(backend);
  return launch(cuda, "restoreWeights", copyFromPool, blocksFor(op.links.capacity), dim3(kBlock), 0, op,
                cuda.failure());
}

}  // namespace hebb::cuda
