// Layer normalisation. A block has 32 neighbouring columns, a warp of it every eighth of their features: rows of 128
// bytes are read side by side. Sums over features go through shared memory, in a fixed order. Three passes over the
// input (mean, variance, output), of which the later ones come from L2 where the batch fits: bound by memory, 8 bytes
// an element; gradient: two passes over input and output's gradient, and a warp a feature for those of gain and bias.
// Sums differ from the CPU's in their order.
#include "hebb/layer_norm.h"

#include "launch.cuh"

namespace hebb::cuda {
namespace {

constexpr int kColumns = 32;  // of a block
constexpr int kRows = 8;      // warps of a block
constexpr int kThreads = kColumns * kRows;

/// The sums of a column's eight parts, in all of its threads. Called by the whole block; may be called again.
__device__ __forceinline__ float sumOfColumn(float part) {
  HEBB_SHARED(float, parts, [kRows][kColumns]);
  const int column = static_cast<int>(threadIdx.x) % kColumns, row = static_cast<int>(threadIdx.x) / kColumns;
  __syncthreads();  // those of the last call were read
  parts[row][column] = part;
  __syncthreads();
  float sum = 0.f;
  for (int i = 0; i < kRows; ++i) sum += parts[i][column];
  return sum;
}

/// Where a thread's column begins: its block's panel, and its place there.
struct Place {
  int32_t panel, column;
  bool isLive;
};
__device__ __forceinline__ Place placeOf(const Activations& a) {
  const int32_t ofPanel = (a.panel + kColumns - 1) / kColumns;
  const int32_t panel = static_cast<int32_t>(blockIdx.x) / ofPanel;
  const int32_t column =
      static_cast<int32_t>(blockIdx.x) % ofPanel * kColumns + static_cast<int>(threadIdx.x) % kColumns;
  return {panel, column, column < liveColumns(a.axis, a.capacity, a.panel, panel)};
}

__global__ void __launch_bounds__(kThreads) normalise(LayerNorm op, float epsilon, const Failure* failure) {
  if (failed(failure)) return;
  const Place at = placeOf(op.input);
  const int32_t row = static_cast<int>(threadIdx.x) / kColumns, features = op.input.features, panel = op.input.panel;
  const float* const x = op.input.data + at.panel * op.input.panelStride() + at.column;
  const float n = static_cast<float>(features);
  float mean = 0.f;
  if (!op.rms) {
    float sum = 0.f;
    for (int32_t f = row; at.isLive && f < features; f += kRows) sum += x[int64_t{f} * panel];
    mean = sumOfColumn(sum) / n;
  }
  float squares = 0.f;
  for (int32_t f = row; at.isLive && f < features; f += kRows) {
    const float d = x[int64_t{f} * panel] - mean;
    squares += d * d;
  }
  const float scale = 1.f / sqrtf(sumOfColumn(squares) / n + epsilon);
  if (!at.isLive) return;
  float* const y = op.output.data + at.panel * op.output.panelStride() + at.column;
  for (int32_t f = row; f < features; f += kRows) {
    const float normal = (x[int64_t{f} * panel] - mean) * scale * loadReused(op.gain + f);
    y[int64_t{f} * panel] = op.bias ? normal + loadReused(op.bias + f) : normal;
  }
  if (row != 0) return;
  float* const statistics = op.statistics.data + at.panel * op.statistics.panelStride() + at.column;
  statistics[0] = mean;
  statistics[panel] = scale;
}

__global__ void __launch_bounds__(kThreads) inputGradients(LayerNormGradient op, const Failure* failure) {
  if (failed(failure)) return;
  const Place at = placeOf(op.input);
  const int32_t row = static_cast<int>(threadIdx.x) / kColumns, features = op.input.features, panel = op.input.panel;
  const float* const x = op.input.data + at.panel * op.input.panelStride() + at.column;
  const float* const dy = op.outputGradient.data + at.panel * op.outputGradient.panelStride() + at.column;
  const float* const statistics = op.statistics.data + at.panel * op.statistics.panelStride() + at.column;
  const float mean = at.isLive ? statistics[0] : 0.f, scale = at.isLive ? statistics[panel] : 0.f;
  float ofGradient = 0.f, ofProduct = 0.f;
  for (int32_t f = row; at.isLive && f < features; f += kRows) {
    const float g = dy[int64_t{f} * panel] * loadReused(op.gain + f);
    ofGradient += g;
    ofProduct += g * ((x[int64_t{f} * panel] - mean) * scale);
  }
  const float n = static_cast<float>(features);
  const float meanGradient = op.rms ? 0.f : sumOfColumn(ofGradient) / n, meanProduct = sumOfColumn(ofProduct) / n;
  if (!at.isLive) return;
  float* const dx = op.inputGradient.data + at.panel * op.inputGradient.panelStride() + at.column;
  for (int32_t f = row; f < features; f += kRows) {
    const int64_t i = int64_t{f} * panel;
    float g = scale * (dy[i] * loadReused(op.gain + f) - meanGradient - (x[i] - mean) * scale * meanProduct);
    if (op.accumulate) g += dx[i];
    dx[i] = g;
  }
}

/// A warp a feature.
__global__ void __launch_bounds__(kThreads) parameterGradients(LayerNormGradient op, const Failure* failure) {
  if (failed(failure)) return;
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  const int32_t f = static_cast<int32_t>(blockIdx.x) * kRows + static_cast<int>(threadIdx.x) / kWarp;
  if (f >= op.input.features) return;
  const int32_t panel = op.input.panel;
  float ofGain = 0.f, ofBias = 0.f;
  for (int32_t p = 0; int64_t{p} * panel < op.input.capacity; ++p) {
    const int32_t live = liveColumns(op.input.axis, op.input.capacity, panel, p);
    const float* const x = op.input.data + p * op.input.panelStride() + int64_t{f} * panel;
    const float* const dy = op.outputGradient.data + p * op.outputGradient.panelStride() + int64_t{f} * panel;
    const float* const statistics = op.statistics.data + p * op.statistics.panelStride();
    for (int32_t c = lane; c < live; c += kWarp) {
      ofGain += dy[c] * ((x[c] - statistics[c]) * statistics[panel + c]);
      ofBias += dy[c];
    }
  }
  for (int distance = kWarp / 2; distance > 0; distance /= 2) {
    ofGain += __shfl_xor_sync(kWholeWarp, ofGain, distance);
    ofBias += __shfl_xor_sync(kWholeWarp, ofBias, distance);
  }
  if (lane != 0) return;
  if (op.gainGradient) op.gainGradient[f] = op.accumulateGain ? op.gainGradient[f] + ofGain : ofGain;
  if (op.biasGradient) op.biasGradient[f] = op.accumulateBias ? op.biasGradient[f] + ofBias : ofBias;
}

int64_t blocksOf(const Activations& a) { return int64_t{(a.panel + kColumns - 1) / kColumns} * a.panels(); }

}  // namespace

Status layerNorm(Backend& backend, const LayerNorm& op) {
  Cuda& cuda = cudaOf(backend);
  return launch(cuda, "layerNorm", normalise, blocksOf(op.input), dim3(kThreads), 0, op, static_cast<float>(op.epsilon),
                cuda.failure());
}

Status layerNormGradient(Backend& backend, const LayerNormGradient& op) {
  Cuda& cuda = cudaOf(backend);
  // First the parameters' gradients: the input's may take the place of what they are computed from.
  if (op.gainGradient || op.biasGradient) {
    HEBB_RETURN_IF_ERROR(launch(cuda, "layerNormGradient", parameterGradients, (op.input.features + kRows - 1) / kRows,
                                dim3(kThreads), 0, op, cuda.failure()));
  }
  if (!op.inputGradient.data) return {};
  return launch(cuda, "layerNormGradient", inputGradients, blocksOf(op.input), dim3(kThreads), 0, op, cuda.failure());
}

}  // namespace hebb::cuda
