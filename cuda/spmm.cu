// Sparse times dense. Forward: Y = act(W X + bias), over the CSR view, the values fetched through cscSlots. Backward:
// dX = W^T dY times act'(X), over the CSC view. Both are the same two kernels with two epilogues.
//
//   fetched  A warp over 1, 2 or 4 rows and up to 64 columns of the batch; X comes through L1 and L2, a slice for each
//            link (row_sums.cuh). Nothing in shared memory.
//   staged   A block of 16 warps over 64, 128 or 256 rows and 64 columns. All of X's panel passes through shared
//            memory, 256 features at a time, by asynchronous copies that run one chunk ahead; a slice is read there
//            once for each link. The rows' sums stay in registers, 4, 8 or 16 rows to a warp. Rows of plain CSR are
//            sorted by column, so a row's place moves on chunk by chunk and no other copy of the links is needed:
//              lane   0        1       2        3      ...
//              row    0 even   0 odd   1 even   1 odd  ...
//            Lane 2 r + t has the next link of row r, t 0: the even ones, 1: the odd ones, and has asked for the two
//            after it.
//            A round hands these out through shared memory, and every row that has a link within the chunk adds one
//            even and one odd link of it.
//
// Rows longer than a segment are added up by several warps (segments.cuh, row_sums.cuh). `staged` leaves them out, and
// a launch of `fetched` follows that does these alone. In both variants the sum of a row, or of a segment, is that of
// its even links plus that of its odd ones, both in the order of cpu/spmm.cc: the variants agree bit for bit, nothing
// depends on the number of valid columns or the panel, and rows of one segment (256 links at least) have the bits of
// the products link by link of the CPU levels that fuse multiply and add (x86-64-v3 and v4, arm64). Segments are added
// in their order: longer rows, and any other order of summation, may differ by (links of the row + 2) * 2^-24 * sum |w
// x|.
//
// Roofline, B live columns, L links, M rows, N columns of W, R rows of a block: 2 L B flop; at least 8 L (forward: 12
// L) + 4 M + 4 B (M + N) bytes from memory. On chip, where the limit is:
//   fetched  4 L B bytes of X from L1 or L2: 0.5 flop a byte
//   staged   4 N B M / R bytes of X from L2, 4 L B bytes of it from shared memory, and 8 bytes a link and panel of
//            links from L2
// `staged` has the better of it where a feature in shared memory serves more links of the block's rows than it costs:
// see stagedRows.
#include "hebb/spmm.h"

#include "epilogue.cuh"
#include "row_sums.cuh"
#include "variant.h"

namespace hebb::cuda {
namespace {

// ---- fetched

constexpr int kThreads = 128;  // small blocks: a block holds its place until its longest row is done
// Blocks that fit a multiprocessor at once: asking for more makes ptxas save registers and wait for every load.
constexpr int kResident = 8;

template <int Team, class Epilogue>
__device__ __forceinline__ void multiplyItems(const Product& product, const Epilogue& epilogue, bool longOnly,
                                              int32_t itemBlock, int32_t columnBlock, const float* x, int64_t start,
                                              int32_t live) {
  constexpr int kRow = 2 * Team;
  const int32_t warp = itemBlock * (kThreads / kWarp) + static_cast<int32_t>(threadIdx.x) / kWarp;
  const int32_t item = warp * (kWarp / kRow) + static_cast<int32_t>(threadIdx.x) % kWarp / kRow;
  const int32_t* const offsets = product.links.offsets;
  const Segment part = longOnly ? product.segments.ofLong(offsets, product.rows, item)
                                : product.segments.at(offsets, product.rows, item);
  multiplyRow<Team>(product, epilogue, NothingMore{}, part, columnBlock, x, start, live);
}

/// Blocks of the same columns are neighbours: the slice of X that they share stays in L2.
template <class Epilogue>
__global__ void __launch_bounds__(kThreads, kResident)
    fetchedProduct(Product product, Epilogue epilogue, bool longOnly, int32_t itemBlocks) {
  const int32_t block = static_cast<int32_t>(blockIdx.x);
  const int32_t itemBlock = block % itemBlocks, columnBlock = block / itemBlocks;
  const int32_t p = columnBlock / product.columnBlocks, first = columnBlock % product.columnBlocks * kColumns;
  const int32_t live = product.live(p, first);
  if (live <= 0 || failed(product.failure)) return;
  const float* x = product.x + p * product.xStride + first;
  const int64_t start = p * product.yStride + first;
  const Epilogue here = epilogue.inPanel(p);
  // Fewer columns, smaller teams, more rows to a warp. The items were cut for the panel's width, so the last blocks may
  // find none left.
  switch (teamFor(live)) {
    case 16: return multiplyItems<16>(product, here, longOnly, itemBlock, columnBlock, x, start, live);
    case 8: return multiplyItems<8>(product, here, longOnly, itemBlock, columnBlock, x, start, live);
    default: return multiplyItems<4>(product, here, longOnly, itemBlock, columnBlock, x, start, live);
  }
}

/// The grid follows from the rows, the capacity and the panels alone; the number of links and of valid columns is read
/// on the device.
template <class Epilogue>
Status fetched(Cuda& cuda, const char* operation, const Product& product, const Epilogue& epilogue, bool longOnly,
               int32_t panels) {
  const int64_t items = int64_t{product.segments.cuts} + (longOnly ? product.segments.cuts : product.rows);
  if (items == 0) return {};
  const int32_t itemsOfBlock = kThreads / (2 * teamFor(product.panel < kColumns ? product.panel : kColumns));
  const auto itemBlocks = static_cast<int32_t>((items - 1) / itemsOfBlock + 1);
  return launch(cuda, operation, fetchedProduct<Epilogue>, int64_t{itemBlocks} * product.columnBlocks * panels,
                dim3(kThreads), 0, product, epilogue, longOnly, itemBlocks);
}

// ---- staged

constexpr int kStagedThreads = 512, kStagedWarps = kStagedThreads / kWarp;
constexpr int kChunk = 256;  // features of X in shared memory at a time, twice

/// The next link of a row, as a round hands it out.
struct __align__(8) Handed {
  int32_t at;  // of its slice in shared memory
  float weight;
};

// Shared memory: two chunks of X, a slice of zeros, and what the warps hand out.
constexpr int32_t kZeros = 2 * kChunk * kColumns;
constexpr size_t kStagedBytes = (kZeros + kColumns) * sizeof(float) + kStagedWarps * kWarp * sizeof(Handed);

/// A row's even or odd links, one after the other: this one, the next, and the place of the one after that. What is
/// asked for is needed two rounds later.
struct Stream {
  static constexpr int32_t kNone = INT32_MAX;
  int32_t index = kNone, nextIndex = kNone, laterIndex = kNone, laterPlace = 0;
  float value = 0.f, nextValue = 0.f;
  int32_t k, end;  // k: the link after the later one

  __device__ __forceinline__ Stream(const Links& links, int32_t begin, int32_t end) : k(begin), end(end) {
    advance(links);
    advance(links);
    advance(links);
  }
  __device__ __forceinline__ void advance(const Links& links) {
    index = nextIndex;
    value = nextValue;
    nextIndex = laterIndex;
    if (laterIndex != kNone) nextValue = loadReused(links.values + laterPlace);
    laterIndex = kNone;
    if (k < end) {
      laterIndex = loadReused(links.indices + k);
      laterPlace = links.slots ? loadReused(links.slots + k) : k;
      k += 2;
    }
  }
};

template <int Rows, class Epilogue>
__global__ void __launch_bounds__(kStagedThreads, 1)
    stagedProduct(Product product, Epilogue epilogue, int32_t rowBlocks) {
  HEBB_SHARED_DYNAMIC(float, shared);
  const int thread = static_cast<int>(threadIdx.x), lane = thread % kWarp, team = lane / 16, column = lane % 16 * 4;
  Handed* const handed = reinterpret_cast<Handed*>(shared + kZeros + kColumns) + thread / kWarp * kWarp;
  const int32_t block = static_cast<int32_t>(blockIdx.x), columnBlock = block / rowBlocks;
  const int32_t p = columnBlock / product.columnBlocks, firstColumn = columnBlock % product.columnBlocks * kColumns;
  const int32_t live = product.live(p, firstColumn);
  if (live <= 0 || failed(product.failure)) return;
  const float* const x = product.x + p * product.xStride + firstColumn;

  const int32_t firstRow = (block % rowBlocks * kStagedWarps + thread / kWarp) * Rows;
  const Links& links = product.links;
  int32_t begin = 0, end = 0;
  bool isLong = false;
  if (const int32_t row = firstRow + lane / 2; lane < 2 * Rows && row < product.rows) {
    begin = loadReused(links.offsets + row);
    end = loadReused(links.offsets + row + 1);
    isLong = product.segments.cuts > 0 && end - begin > product.segments.length;
  }
  const unsigned left = __ballot_sync(kWholeWarp, isLong);  // rows of another launch
  if (isLong) end = begin;
  Stream stream(links, begin + lane % 2, end);

  float4 sums[Rows];
#pragma unroll
  for (int r = 0; r < Rows; ++r) sums[r] = make_float4(0.f, 0.f, 0.f, 0.f);

  // A thread copies the same four columns of every 32nd feature, one chunk after the other.
  constexpr int kStride = kStagedThreads / 16;
  const float* from = x + static_cast<int64_t>(thread / 16) * product.panel + column;
  const int32_t copied = column < live ? product.xFeatures : 0;
  const auto copy = [&](int32_t firstFeature) {
    float* to = shared + firstFeature / kChunk % 2 * (kChunk * kColumns) + thread * 4;
#pragma unroll 2
    for (int32_t f = firstFeature + thread / 16; f < copied && f < firstFeature + kChunk; f += kStride) {
      copyAsync16(to, from);
      to += kStride * kColumns;
      from += kStride * product.panel;
    }
    commitCopies();
  };
  if (thread < kColumns) shared[kZeros + thread] = 0.f;
  copy(0);
  for (int32_t first = 0; first < product.xFeatures; first += kChunk) {
    copy(first + kChunk);
    waitForCopies<1>();
    __syncthreads();
    const int32_t chunk = first / kChunk % 2 * (kChunk * kColumns);
    while (true) {
      const bool here = stream.index < first + kChunk;
      const unsigned rows = __ballot_sync(kWholeWarp, here);
      if (rows == 0) break;
      // A link that is not here weighs -0 in a slice of zeros: adding -0 * 0 changes no bit of any sum.
      handed[lane] = {here ? chunk + (stream.index - first) * kColumns : kZeros, here ? stream.value : -0.f};
      if (here) stream.advance(links);
      __syncwarp();
#pragma unroll
      for (int r = 0; r < Rows; ++r) {
        if ((rows >> 2 * r & 3u) == 0) continue;  // all lanes alike
        const Handed link = handed[2 * r + team];
        sums[r] = mulAdd4(link.weight, load4(shared + link.at + column), sums[r]);
      }
      __syncwarp();
    }
    __syncthreads();  // the chunk's place is written again
  }

  const Epilogue here = epilogue.inPanel(p);
  const int64_t start = p * product.yStride + firstColumn + column;
#pragma unroll
  for (int r = 0; r < Rows; ++r) {
    const float4 other = exchange4(sums[r], 16);
    const int32_t row = firstRow + r;
    if (team == 0 && column < live && row < product.rows && (left >> 2 * r & 1u) == 0) {
      const int64_t at = start + static_cast<int64_t>(row) * product.panel;
      here.store(product.y, at, row, each4([](float even, float odd) { return even + odd; }, sums[r], other));
    }
  }
}

template <int Rows, class Epilogue>
Status stagedWith(Cuda& cuda, const char* operation, const Product& product, const Epilogue& epilogue, int32_t panels) {
  const int32_t rowBlocks = (product.rows - 1) / (Rows * kStagedWarps) + 1;
  HEBB_RETURN_IF_ERROR(allowShared(cuda, operation, stagedProduct<Rows, Epilogue>, kStagedBytes));
  HEBB_RETURN_IF_ERROR(launch(cuda, operation, stagedProduct<Rows, Epilogue>,
                              int64_t{rowBlocks} * product.columnBlocks * panels, dim3(kStagedThreads), kStagedBytes,
                              product, epilogue, rowBlocks));
  return fetched(cuda, operation, product, epilogue, true, panels);
}

// ---- which

/// Rows of a block if `staged` is to run, 0 if `fetched` is. Predictions, from the bytes above and an L2 that gives a
/// multiprocessor about a quarter of what its shared memory does; no GPU has confirmed them yet (bench/gpu measures
/// both, HEBB_CUDA_SPMM asks for one).
/// - A block has a multiprocessor to itself, so there should be about as many blocks as these: the most rows that leave
///   96 blocks.
/// - A feature in shared memory should serve two links of these rows on the average. This is what decides: 1% at 256
///   rows, 4% at 64.
/// - Average rows should not be long: those are left to `fetched`.
int32_t stagedRows(int32_t rows, int32_t cols, int32_t capacity, int32_t columnBlocks, const Segments& segments) {
  if (columnBlocks < 2 || capacity / rows > segments.length / 2) return 0;
  for (const int32_t r : {256, 128, 64}) {
    if (int64_t{(rows - 1) / r + 1} * columnBlocks < 96) continue;
    return static_cast<double>(capacity) * r >= 2. * rows * cols ? r : 0;
  }
  return 0;
}

template <class Epilogue>
Status multiply(Cuda& cuda, const char* operation, const Links& links, int32_t rows, int32_t cols, int32_t capacity,
                const Activations& x, const Activations& y, const Epilogue& epilogue) {
  const Product product = productOf(cuda, links, rows, cols, capacity, x, y);
  const int32_t panels = y.panels(),
                rowsOfBlock = stagedRows(rows, cols, capacity, product.columnBlocks * panels, product.segments);
  bool staged = false;
  HEBB_RETURN_IF_ERROR(chooseVariant("HEBB_CUDA_SPMM", "staged", "fetched", rowsOfBlock > 0, &staged));
  if (!staged) return fetched(cuda, operation, product, epilogue, false, panels);
  // Where it is asked for and not chosen, the fewest rows that fill them.
  switch (rowsOfBlock > 0 ? rowsOfBlock : rows > 64 * 96 ? 256 : rows > 64 ? 128 : 64) {
    case 256: return stagedWith<16>(cuda, operation, product, epilogue, panels);
    case 128: return stagedWith<8>(cuda, operation, product, epilogue, panels);
    default: return stagedWith<4>(cuda, operation, product, epilogue, panels);
  }
}

}  // namespace

Status spmm(Backend& backend, const Spmm& op) {
  const Csr& w = op.weights;
  return multiply(cudaOf(backend), "spmm", Links{w.rowOffsets, w.columnIndices, w.cscSlots, op.values}, w.rows, w.cols,
                  w.capacity, op.input, op.output, ForwardEpilogue{op.bias, op.activation == Activation::relu});
}

Status spmmTransposed(Backend& backend, const SpmmTransposed& op) {
  const Csr& w = op.weights;
  return multiply(cudaOf(backend), "spmmTransposed", Links{w.columnOffsets, w.rowIndices, nullptr, op.values}, w.cols,
                  w.rows, w.capacity, op.outputGradient, op.inputGradient, backwardEpilogue(op));
}

}  // namespace hebb::cuda
