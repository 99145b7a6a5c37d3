// Embeddings. Forward, rows become columns through a tile of 32 by 32 in shared memory, so that both are read and
// written along their rows: bound by memory, 8 bytes an element. In the gradient a block has a word, looks through the
// tokens of the batch for it, 256 at a time, and adds the columns it finds in their order: no atomics, the same bits in
// every run. Bound by writing the table's gradient; of more than some 16,000 tokens, by looking through them once for
// each word.
#include "hebb/embedding.h"

#include "launch.cuh"

namespace hebb::cuda {
namespace {

constexpr int kTile = 32, kTileRows = 8;
constexpr int kThreads = kTile * kTileRows;

/// Reports the first of the tokens that is no word. Called by a whole block.
__device__ __forceinline__ void reportTokens(const int32_t* tokens, int32_t first, int32_t columns, int64_t words,
                                             Problem problem, Failure* failure) {
  HEBB_SHARED(int32_t, least, [1]);
  const int thread = static_cast<int>(threadIdx.x);
  if (thread == 0) least[0] = columns;
  __syncthreads();
  int32_t bad = columns;
  for (int32_t c = thread; c < columns && bad == columns; c += kThreads) {
    if (tokens[first + c] < 0 || tokens[first + c] >= words) bad = c;
  }
  if (bad < columns) atomicMin(&least[0], bad);
  __syncthreads();
  if (least[0] == columns || thread != 0) return;
  failure->limit = words;
  failure->place = first + least[0];
  failure->got = tokens[first + least[0]];
  storeRacing(&failure->problem, problem);
}

__device__ __forceinline__ bool hasFailed(const Failure* failure) {
  HEBB_SHARED(int32_t, earlier, [1]);
  if (threadIdx.x == 0) earlier[0] = loadRacing(&failure->problem) != Problem::none;
  __syncthreads();
  return earlier[0] != 0;
}

__global__ void __launch_bounds__(kThreads)
    pickRows(Embedding op, float scale, int32_t featureTiles, Failure* failure) {
  HEBB_SHARED(float, tile, [kTile][kTile + 1]);  // one more: a column of the tile is spread over all banks
  if (hasFailed(failure)) return;
  const Activations& out = op.output;
  const int32_t block = static_cast<int32_t>(blockIdx.x), columns = out.columns();
  if (block == 0) reportTokens(op.tokens, out.firstColumn(), columns, op.words, Problem::embeddingToken, failure);
  const int32_t firstFeature = block % featureTiles * kTile, firstColumn = block / featureTiles * kTile;
  if (firstColumn >= columns) return;
  const int along = static_cast<int>(threadIdx.x) % kTile, row = static_cast<int>(threadIdx.x) / kTile;
  for (int i = row; i < kTile; i += kTileRows) {
    const int32_t column = firstColumn + i, feature = firstFeature + along;
    float value = 0.f;
    if (column < columns && feature < out.features) {
      const int32_t token = loadReused(op.tokens + out.firstColumn() + column);
      if (token >= 0 && token < op.words) value = op.table[int64_t{token} * out.features + feature] * scale;
    }
    tile[i][along] = value;
  }
  __syncthreads();
  const int32_t column = firstColumn + along;
  if (column >= (columns + 15) / 16 * 16) return;  // those up to there become zero
  float* const to = out.data + column / out.panel * out.panelStride() + column % out.panel;
  for (int i = row; i < kTile; i += kTileRows) {
    if (firstFeature + i >= out.features) continue;
    float& y = to[int64_t{firstFeature + i} * out.panel];
    y = op.accumulate ? y + tile[along][i] : tile[along][i];
  }
}

__global__ void __launch_bounds__(kThreads) addColumns(EmbeddingGradient op, float scale, Failure* failure) {
  HEBB_SHARED(int32_t, found, [kThreads]);
  HEBB_SHARED(int32_t, counts, [kThreads / kWarp]);
  if (hasFailed(failure)) return;
  const Activations& dy = op.outputGradient;
  const int32_t columns = dy.columns(), word = static_cast<int32_t>(blockIdx.x);
  if (word == 0) reportTokens(op.tokens, dy.firstColumn(), columns, op.words, Problem::embeddingGradientToken, failure);
  const int thread = static_cast<int>(threadIdx.x), lane = thread % kWarp;
  float* const row = op.gradient + int64_t{word} * dy.features;
  if (!op.accumulate) {
    for (int32_t f = thread; f < dy.features; f += kThreads) row[f] = 0.f;
  }
  for (int32_t first = 0; first < columns; first += kThreads) {
    const bool mine = first + thread < columns && loadReused(op.tokens + dy.firstColumn() + first + thread) == word;
    const unsigned ofWarp = __ballot_sync(kWholeWarp, mine);
    if (lane == 0) counts[thread / kWarp] = __popc(ofWarp);
    __syncthreads();
    int32_t before = 0, all = 0;
    for (int warp = 0; warp < kThreads / kWarp; ++warp) {
      if (warp < thread / kWarp) before += counts[warp];
      all += counts[warp];
    }
    if (mine) found[before + __popc(ofWarp & ((1u << lane) - 1u))] = first + thread;
    __syncthreads();
    for (int32_t f = thread; all > 0 && f < dy.features; f += kThreads) {
      float sum = row[f];
      for (int32_t i = 0; i < all; ++i) {
        const int32_t c = found[i];
        sum += dy.data[c / dy.panel * dy.panelStride() + int64_t{f} * dy.panel + c % dy.panel] * scale;
      }
      row[f] = sum;
    }
    __syncthreads();  // all have read what they found
  }
}

}  // namespace

Status embedding(Backend& backend, const Embedding& op) {
  Cuda& cuda = cudaOf(backend);
  const int32_t featureTiles = (op.output.features + kTile - 1) / kTile;
  const int64_t columnTiles = (op.output.capacity + kTile - 1) / kTile;
  return launch(cuda, "embedding", pickRows, featureTiles * columnTiles, dim3(kThreads), 0, op,
                static_cast<float>(op.scale), featureTiles, cuda.failure());
}

Status embeddingGradient(Backend& backend, const EmbeddingGradient& op) {
  Cuda& cuda = cudaOf(backend);
  return launch(cuda, "embeddingGradient", addColumns, op.words, dim3(kThreads), 0, op, static_cast<float>(op.scale),
                cuda.failure());
}

}  // namespace hebb::cuda
