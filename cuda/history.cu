// The links that were ever active, and the neurons that are.
//
// The history and the layer's links are both in order: a prefix sum over the links that are new gives each member of
// the union its place, which it finds by one binary search. The union is made in a copy, as large as the history may
// become. Roofline, L links, H in the history: 16 L + 32 H bytes; the searches stay in L2 unless the history is larger.
//
// As bits, each word of 64 cells is one thread's, which finds its links by a binary search in the row: 4 L bytes, and
// the bits, read and, where they change, written.
#include "hebb/history.h"

#include "launch.cuh"
#include "scan.h"
#include "search.cuh"

namespace hebb::cuda {
namespace {

constexpr int64_t kMost = INT32_MAX;  // places in the history

__device__ __forceinline__ uint64_t memberOf(const Csr& links, int32_t k) {
  return static_cast<uint64_t>(rowOf(links.rowOffsets, links.rows, k)) * static_cast<uint64_t>(links.cols) +
         static_cast<uint32_t>(links.columnIndices[k]);
}

/// The first link of the layer that is not before `member`.
__device__ __forceinline__ int32_t placeOf(const Csr& links, uint64_t member) {
  const uint64_t cols = static_cast<uint64_t>(links.cols), row = member / cols;
  if (row >= static_cast<uint64_t>(links.rows)) return links.rowOffsets[links.rows];
  return lowerBound(links.columnIndices, links.rowOffsets[row], links.rowOffsets[row + 1],
                    static_cast<int32_t>(member % cols));
}

__global__ void __launch_bounds__(kBlock) markFresh(UniteLinks op, int32_t* fresh) {
  const int64_t at = element();
  if (at >= op.links.capacity) return;
  int32_t isFresh = 0;
  if (at < op.links.rowOffsets[op.links.rows]) {
    const int32_t old = static_cast<int32_t>(*op.count);
    const uint64_t member = memberOf(op.links, static_cast<int32_t>(at));
    const int32_t place = lowerBound(op.ever, 0, old, member);
    isFresh = place == old || op.ever[place] != member;
  }
  fresh[at] = isFresh;
}

__global__ void __launch_bounds__(kBlock)
    unite(UniteLinks op, const int32_t* fresh, uint64_t* united, Failure* failure) {
  const int64_t at = element();
  const int64_t old = *op.count, all = old + fresh[op.links.capacity];
  if (all > op.capacity) {
    if (at == 0 && !failed(failure)) *failure = {Problem::history, 0, op.capacity, static_cast<double>(all)};
    return;
  }
  if (at < old) united[at + fresh[placeOf(op.links, op.ever[at])]] = op.ever[at];
  if (at < op.links.rowOffsets[op.links.rows] && fresh[at + 1] > fresh[at]) {
    const uint64_t member = memberOf(op.links, static_cast<int32_t>(at));
    united[fresh[at] + lowerBound(op.ever, 0, static_cast<int32_t>(old), member)] = member;
  }
}

__global__ void __launch_bounds__(kBlock)
    writeHistory(UniteLinks op, const int32_t* fresh, const uint64_t* united, const Failure* failure) {
  const int64_t at = element();
  if (failed(failure) || at >= *op.count + fresh[op.links.capacity]) return;
  op.ever[at] = united[at];
}

__global__ void countHistory(UniteLinks op, const int32_t* fresh, const Failure* failure) {
  if (!failed(failure)) *op.count += fresh[op.links.capacity];
}

__global__ void __launch_bounds__(kBlock) uniteBits(UniteLinks op, int64_t words, const Failure* failure) {
  if (failed(failure)) return;
  const Csr& w = op.links;
  const int64_t at = element(), row = at / words;
  int32_t fresh = 0;
  if (row < w.rows) {
    const int32_t first = static_cast<int32_t>(at % words * 64), end = w.rowOffsets[row + 1];
    uint64_t links = 0;
    for (int32_t k = lowerBound(w.columnIndices, w.rowOffsets[row], end, first); k < end; ++k) {
      const int32_t bit = w.columnIndices[k] - first;
      if (bit >= 64) break;
      links |= uint64_t{1} << bit;
    }
    const uint64_t before = op.bits[at], added = links & ~before;
    if (added) op.bits[at] = before | added;
    fresh = __popcll(added);
  }
  const int32_t inWarp = __reduce_add_sync(kWholeWarp, fresh);
  if (inWarp == 0 || threadIdx.x % kWarp != 0) return;
  atomicAdd(reinterpret_cast<unsigned long long*>(op.count), static_cast<unsigned long long>(inWarp));
}

__global__ void countNew(ReturnedLinks op, const Failure* failure) {
  if (failed(failure)) return;
  op.counts[0] = 0;
  op.counts[1] = *op.changes.newCount;
}

__global__ void __launch_bounds__(kBlock) countReturned(ReturnedLinks op, const Failure* failure) {
  if (failed(failure)) return;
  const Csr& w = op.links;
  const int64_t at = element();
  bool returned = false;
  if (at < *op.changes.newCount) {
    const int32_t row = op.changes.newRows[at], column = op.changes.newColumns[at], end = w.rowOffsets[row + 1];
    const int32_t place = lowerBound(w.columnIndices, w.rowOffsets[row], end, column);
    returned = place < end && w.columnIndices[place] == column && !op.changes.keep[w.cscSlots[place]];
  }
  const int inWarp = __popc(__ballot_sync(kWholeWarp, returned));
  if (inWarp && threadIdx.x % kWarp == 0) atomicAdd(&op.counts[0], inWarp);
}

__global__ void countLinks(Csr links, int32_t* counts, const Failure* failure) {
  if (failed(failure)) return;
  counts[0] = counts[1] = 0;
  counts[2] = links.rowOffsets[links.rows];
}

__global__ void __launch_bounds__(kBlock) countActive(Csr links, int32_t* counts, const Failure* failure) {
  if (failed(failure)) return;
  const int64_t at = element();
  const bool input = at < links.cols && links.columnOffsets[at + 1] > links.columnOffsets[at];
  const bool output = at < links.rows && links.rowOffsets[at + 1] > links.rowOffsets[at];
  const int inputs = __popc(__ballot_sync(kWholeWarp, input)), outputs = __popc(__ballot_sync(kWholeWarp, output));
  if (threadIdx.x % kWarp != 0) return;
  if (inputs) atomicAdd(&counts[0], inputs);
  if (outputs) atomicAdd(&counts[1], outputs);
}

}  // namespace

Status uniteLinks(Backend& backend, const UniteLinks& op) {
  Cuda& cuda = cudaOf(backend);
  const char* const name = "uniteLinks";
  if (op.bits) {
    const int64_t words = UniteLinks::wordsOf(op.links.cols);
    return launch(cuda, name, uniteBits, blocksFor(op.links.rows * words), dim3(kBlock), 0, op, words, cuda.failure());
  }
  if (op.capacity > kMost)
    return {Code::unsupported,
            "Expected a history of at most " + std::to_string(kMost) + " links, got " + std::to_string(op.capacity)};
  const int64_t links = op.links.capacity, most = links > op.capacity ? links : op.capacity;
  Scratch<int32_t> fresh(cuda);
  Scratch<uint64_t> united(cuda);
  HEBB_RETURN_IF_ERROR(fresh.allocate(links + 1));
  HEBB_RETURN_IF_ERROR(united.allocate(op.capacity));
  HEBB_RETURN_IF_ERROR(launch(cuda, name, markFresh, blocksFor(links), dim3(kBlock), 0, op, fresh.data()));
  HEBB_RETURN_IF_ERROR(prefixSums(cuda, name, fresh.data(), links));
  HEBB_RETURN_IF_ERROR(
      launch(cuda, name, unite, blocksFor(most), dim3(kBlock), 0, op, fresh.data(), united.data(), cuda.failure()));
  HEBB_RETURN_IF_ERROR(launch(cuda, name, writeHistory, blocksFor(op.capacity), dim3(kBlock), 0, op, fresh.data(),
                              united.data(), cuda.failure()));
  return launch(cuda, name, countHistory, 1, dim3(1), 0, op, fresh.data(), cuda.failure());
}

Status returnedLinks(Backend& backend, const ReturnedLinks& op) {
  Cuda& cuda = cudaOf(backend);
  const char* const name = "returnedLinks";
  HEBB_RETURN_IF_ERROR(launch(cuda, name, countNew, 1, dim3(1), 0, op, cuda.failure()));
  return launch(cuda, name, countReturned, blocksFor(op.links.capacity), dim3(kBlock), 0, op, cuda.failure());
}

Status activeNeurons(Backend& backend, const ActiveNeurons& op) {
  Cuda& cuda = cudaOf(backend);
  const char* const name = "activeNeurons";
  const Csr& w = op.links;
  HEBB_RETURN_IF_ERROR(launch(cuda, name, countLinks, 1, dim3(1), 0, w, op.counts, cuda.failure()));
  return launch(cuda, name, countActive, blocksFor(w.rows > w.cols ? w.rows : w.cols), dim3(kBlock), 0, w, op.counts,
                cuda.failure());
}

}  // namespace hebb::cuda
