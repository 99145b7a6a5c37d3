// Picks a batch: samples are rows in the data set and columns in an activation, so this is a transposition, through a
// tile of 32 samples by 32 features in shared memory: both sides are read and written along their rows. The bits are
// those of the CPU levels that fuse multiply and add.
//
// Images are cut and flipped as they are read: a block draws the cuts of its samples once, and a thread knows where its
// feature lies in the image. Variants: with and without channels and cuts.
//
// The indices lie in memory that anyone may write. One block looks through those of the whole batch and reports the
// first that is no sample; no block reads a row for such an index.
//
// Roofline: bound by memory, (1 or 4) + 4 bytes an element; the rows of a sample are read in pieces of 32 or 128 bytes.
#include "hebb/gather.h"

#include "launch.cuh"

namespace hebb::cuda {
namespace {

constexpr int kTile = 32, kTileRows = 8;
constexpr int kThreads = kTile * kTileRows;

/// Reports the first of the batch's indices that is no sample. Called by a whole block; true when there is one.
__device__ __forceinline__ bool reportIndices(const int32_t* indices, int64_t offset, int32_t columns, int64_t samples,
                                              Problem problem, Failure* failure) {
  HEBB_SHARED(int32_t, first, [1]);
  const int32_t thread = static_cast<int32_t>(threadIdx.y * blockDim.x + threadIdx.x);
  if (thread == 0) first[0] = columns;
  __syncthreads();
  int32_t bad = columns;
  for (int32_t c = thread; c < columns && bad == columns; c += kThreads) {
    const int32_t index = indices[offset + c];
    if (index < 0 || index >= samples) bad = c;
  }
  if (bad < columns) atomicMin(&first[0], bad);
  __syncthreads();
  if (first[0] == columns) return false;
  if (thread == 0) {
    const int64_t place = offset + first[0];
    failure->limit = samples;
    failure->place = place;
    failure->got = indices[place];
    storeRacing(&failure->problem, problem);
  }
  return true;
}

/// `Images`: channels have scales of their own, or images are cut.
template <class Number, bool Images>
__global__ void __launch_bounds__(kThreads)
    gatherSamples(Gather op, const Number* data, int32_t featureTiles, Failure* failure) {
  HEBB_SHARED(float, tile, [kTile][kTile + 1]);  // one more: a column of the tile is spread over all banks
  HEBB_SHARED(int32_t, earlier, [1]);
  HEBB_SHARED(int32_t, cuts, [3][kTile]);  // down, right, flip
  if (threadIdx.x == 0 && threadIdx.y == 0) earlier[0] = loadRacing(&failure->problem) != Problem::none;
  __syncthreads();
  if (earlier[0]) return;
  const Activations& out = op.output;
  const int32_t columns = out.columns();
  const int64_t offset = op.state->offset + out.firstColumn();
  const int32_t block = static_cast<int32_t>(blockIdx.x);
  if (block == 0 && reportIndices(op.indices, offset, columns, op.samples, Problem::gatherIndex, failure)) return;
  const int32_t firstFeature = block % featureTiles * kTile, firstColumn = block / featureTiles * kTile;
  if (firstColumn >= columns) return;
  const int along = static_cast<int>(threadIdx.x);
  const Augmentation& augmentation = op.augmentation;
  const int32_t height = augmentation.height, width = augmentation.width;
  float scale = op.scale, shift = op.shift;
  int32_t plane = 0, y = 0, x = 0;  // where the thread's feature lies in an image
  if constexpr (Images) {
    const int32_t feature = min(firstFeature + along, out.features - 1);
    if (op.scales) {
      const int32_t channel = feature / (out.features / op.channels);
      scale = op.scales[channel];
      shift = op.shifts[channel];
    }
    if (height > 0) {
      x = feature % width;
      y = feature / width % height;
      plane = feature - y * width - x;
      if (threadIdx.y == 0) {
        const Cut cut = cutOf(augmentation, op.state->step, out.firstColumn() + firstColumn + along);
        cuts[0][along] = cut.down;
        cuts[1][along] = cut.right;
        cuts[2][along] = cut.flip;
      }
    }
    __syncthreads();
  }
  for (int i = static_cast<int>(threadIdx.y); i < kTile; i += kTileRows) {
    const int32_t column = firstColumn + i, feature = firstFeature + along;
    float value = 0.f;
    if (column < columns && feature < out.features) {
      const int32_t sample = loadReused(op.indices + offset + column);
      int32_t from = feature;
      if constexpr (Images) {
        if (height > 0) {
          const int32_t row = y + cuts[0][i], place = (cuts[2][i] ? width - 1 - x : x) + cuts[1][i];
          from = row >= 0 && row < height && place >= 0 && place < width ? plane + row * width + place : -1;
        }
      }
      if (sample >= 0 && sample < op.samples)
        value = fmaf(from >= 0 ? static_cast<float>(data[int64_t{sample} * out.features + from]) : 0.f, scale, shift);
    }
    tile[i][along] = value;
  }
  __syncthreads();
  const int32_t column = firstColumn + along;
  if (column >= (columns + 15) / 16 * 16) return;  // those up to there become zero
  float* to = out.data + column / out.panel * out.panelStride() + column % out.panel;
  for (int i = static_cast<int>(threadIdx.y); i < kTile; i += kTileRows) {
    if (firstFeature + i < out.features) to[int64_t{firstFeature + i} * out.panel] = tile[along][i];
  }
}

/// One number of each sample of the whole batch.
template <class Op, class Number>
__global__ void __launch_bounds__(kThreads)
    pick(Op op, const Number* ofSamples, Number* ofColumns, Problem problem, Failure* failure) {
  if (failed(failure)) return;
  const int64_t offset = op.state->offset;
  const int32_t columns = op.state->axis.columns;
  if (reportIndices(op.indices, offset, columns, op.samples, problem, failure)) return;
  for (int32_t c = static_cast<int32_t>(threadIdx.y) * kTile + static_cast<int32_t>(threadIdx.x); c < columns;
       c += kThreads) {
    ofColumns[c] = ofSamples[op.indices[offset + c]];
  }
}

template <class Number>
Status gatherFrom(Cuda& cuda, const Gather& op, const Number* data) {
  const int32_t featureTiles = (op.output.features - 1) / kTile + 1, columnTiles = (op.output.capacity - 1) / kTile + 1;
  const auto kernel =
      op.scales || op.augmentation.height > 0 ? gatherSamples<Number, true> : gatherSamples<Number, false>;
  return launch(cuda, "gather", kernel, int64_t{featureTiles} * columnTiles, dim3(kTile, kTileRows), 0, op, data,
                featureTiles, cuda.failure());
}

}  // namespace

Status gather(Backend& backend, const Gather& op) {
  return op.bytes ? gatherFrom(cudaOf(backend), op, op.bytes) : gatherFrom(cudaOf(backend), op, op.floats);
}

Status gatherLabels(Backend& backend, const GatherLabels& op) {
  Cuda& cuda = cudaOf(backend);
  return launch(cuda, "gatherLabels", pick<GatherLabels, int32_t>, 1, dim3(kTile, kTileRows), 0, op, op.labels,
                op.targets, Problem::gatherLabelsIndex, cuda.failure());
}

Status gatherWeights(Backend& backend, const GatherWeights& op) {
  Cuda& cuda = cudaOf(backend);
  return launch(cuda, "gatherWeights", pick<GatherWeights, float>, 1, dim3(kTile, kTileRows), 0, op, op.weights,
                op.columnWeights, Problem::gatherWeightsIndex, cuda.failure());
}

}  // namespace hebb::cuda
