// Pooling. A first kernel of one block looks through the offsets. Forward, a thread has a sequence and a feature, and
// goes through its columns in their order, as the CPU does: the same bits. Neighbours have neighbouring sequences,
// whose columns share lines. Backward, a thread has a column and kRows features. Bound by memory and, forward, by the
// latency of a sequence's columns, one after another: 4 bytes an element, 8 for the gradient of max.
#include "hebb/pooling.h"

#include "offsets.cuh"

namespace hebb::cuda {
namespace {

constexpr int kThreads = 256;
constexpr int kWarps = kThreads / kWarp;
constexpr int32_t kRows = 8;  // features

__device__ __forceinline__ float* addressOf(const Activations& a, int32_t feature, int32_t column) {
  return a.data + column / a.panel * a.panelStride() + int64_t{feature} * a.panel + column % a.panel;
}

__global__ void __launch_bounds__(kThreads)
    checkOffsets(const int32_t* offsets, Activations sequences, Activations along, Problem problem, Failure* failure) {
  HEBB_SHARED(int32_t, earlier, [1]);
  if (threadIdx.x == 0) earlier[0] = failed(failure);
  __syncthreads();
  if (earlier[0] != 0) return;
  reportOffsets<kThreads>(offsets, sequences.columns(), along.columns(), problem, failure);
}

/// A block has 32 sequences, a lane each, and a feature to a warp.
__global__ void __launch_bounds__(kThreads) poolColumns(Pooling op, int32_t strips, const Failure* failure) {
  if (failed(failure)) return;
  const int32_t block = static_cast<int32_t>(blockIdx.x), sequences = op.output.columns();
  const int32_t s = block / strips * kWarp + static_cast<int>(threadIdx.x) % kWarp;
  const int32_t f = block % strips * kWarps + static_cast<int>(threadIdx.x) / kWarp;
  if (f >= op.output.features || s >= (sequences + 15) / 16 * 16) return;
  float result = 0.f;
  const int32_t begin = s < sequences ? op.offsets[s] : 0, end = s < sequences ? op.offsets[s + 1] : 0;
  if (begin < end) {
    result = *addressOf(op.input, f, begin);
    if (op.kind == PoolingKind::mean) {
      double sum = 0;
      for (int32_t c = begin; c < end; ++c) sum += *addressOf(op.input, f, c);
      result = static_cast<float>(sum / (end - begin));
    } else if (op.kind == PoolingKind::max) {
      for (int32_t c = begin + 1; c < end; ++c) {
        const float x = *addressOf(op.input, f, c);
        result = x > result || x != x ? x : result;
      }
    }
  }
  *addressOf(op.output, f, s) = result;
}

/// A block has kThreads columns of the input and kRows features.
__global__ void __launch_bounds__(kThreads) spreadGradient(PoolingGradient op, int32_t strips, const Failure* failure) {
  if (failed(failure)) return;
  const int32_t block = static_cast<int32_t>(blockIdx.x), columns = op.inputGradient.columns();
  const int32_t c = block / strips * kThreads + static_cast<int>(threadIdx.x), first = block % strips * kRows;
  if (c >= (columns + 15) / 16 * 16) return;
  const bool isValid = c < columns;
  const int32_t s = isValid ? sequenceOf(op.offsets, op.outputGradient.columns(), c) : 0;
  const int32_t begin = isValid ? op.offsets[s] : 0, end = isValid ? op.offsets[s + 1] : 1;
  for (int32_t f = first; f < first + kRows && f < op.outputGradient.features; ++f) {
    float g = isValid ? *addressOf(op.outputGradient, f, s) : 0.f;
    if (op.kind == PoolingKind::mean) {
      g /= static_cast<float>(end - begin);
    } else if (op.kind == PoolingKind::first) {
      if (c != begin) g = 0.f;
    } else if (isValid) {
      const float top = *addressOf(op.output, f, s);
      bool isFirst = *addressOf(op.input, f, c) == top;
      for (int32_t before = begin; isFirst && before < c; ++before) isFirst = *addressOf(op.input, f, before) != top;
      if (!isFirst) g = 0.f;
    }
    float* const dx = addressOf(op.inputGradient, f, c);
    *dx = op.accumulate && isValid ? *dx + g : g;
  }
}

}  // namespace

Status pooling(Backend& backend, const Pooling& op) {
  Cuda& cuda = cudaOf(backend);
  HEBB_RETURN_IF_ERROR(launch(cuda, "pooling", checkOffsets, 1, dim3(kThreads), 0, op.offsets, op.output, op.input,
                              Problem::poolingOffsets, cuda.failure()));
  const int32_t strips = (op.output.features + kWarps - 1) / kWarps;
  const int64_t blocks = (int64_t{op.output.capacity} + kWarp - 1) / kWarp * strips;
  return launch(cuda, "pooling", poolColumns, blocks, dim3(kThreads), 0, op, strips, cuda.failure());
}

Status poolingGradient(Backend& backend, const PoolingGradient& op) {
  Cuda& cuda = cudaOf(backend);
  HEBB_RETURN_IF_ERROR(launch(cuda, "poolingGradient", checkOffsets, 1, dim3(kThreads), 0, op.offsets,
                              op.outputGradient, op.inputGradient, Problem::poolingGradientOffsets, cuda.failure()));
  const int32_t strips = (op.outputGradient.features + kRows - 1) / kRows;
  const int64_t blocks = (int64_t{op.inputGradient.capacity} + kThreads - 1) / kThreads * strips;
  return launch(cuda, "poolingGradient", spreadGradient, blocks, dim3(kThreads), 0, op, strips, cuda.failure());
}

}  // namespace hebb::cuda
