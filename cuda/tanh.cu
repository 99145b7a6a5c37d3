// The hyperbolic tangent and its gradient: a column of a row a thread. Bound by memory: 8 bytes an element forward, 12
// backward (16 when it accumulates), over the live columns. The bits are the CPU's. Operands may be in place.
#include "hebb/tanh.h"

#include "launch.cuh"

namespace hebb::cuda {
namespace {

constexpr int kThreads = 256;

__global__ void __launch_bounds__(kThreads) forward(Tanh op, int32_t blocksOfPanel, const Failure* failure) {
  const Activations &x = op.input, &y = op.output;
  const int32_t block = static_cast<int32_t>(blockIdx.x), p = block / blocksOfPanel;
  const int64_t i = int64_t{block % blocksOfPanel} * kThreads + static_cast<int>(threadIdx.x);
  if (i >= int64_t{y.features} * y.panel) return;
  if (static_cast<int32_t>(i % y.panel) >= liveColumns(y.columns, y.capacity, y.panel, p) || failed(failure)) return;
  y.data[p * y.panelStride() + i] = tanhOf(x.data[p * x.panelStride() + i]);
}

__global__ void __launch_bounds__(kThreads) backward(TanhGradient op, int32_t blocksOfPanel, const Failure* failure) {
  const Activations &y = op.output, &dy = op.outputGradient, &dx = op.inputGradient;
  const int32_t block = static_cast<int32_t>(blockIdx.x), p = block / blocksOfPanel;
  const int64_t i = int64_t{block % blocksOfPanel} * kThreads + static_cast<int>(threadIdx.x);
  if (i >= int64_t{y.features} * y.panel) return;
  if (static_cast<int32_t>(i % y.panel) >= liveColumns(y.columns, y.capacity, y.panel, p) || failed(failure)) return;
  float* const to = dx.data + p * dx.panelStride() + i;
  const float g = tanhGradientOf(y.data[p * y.panelStride() + i], dy.data[p * dy.panelStride() + i]);
  *to = op.accumulate ? g + *to : g;
}

int32_t blocksOf(const Activations& a) {
  return static_cast<int32_t>((int64_t{a.features} * a.panel + kThreads - 1) / kThreads);
}

}  // namespace

Status tanh(Backend& backend, const Tanh& op) {
  Cuda& cuda = cudaOf(backend);
  const int32_t blocks = blocksOf(op.output);
  return launch(cuda, "tanh", forward, int64_t{blocks} * op.output.panels(), dim3(kThreads), 0, op, blocks,
                cuda.failure());
}

Status tanhGradient(Backend& backend, const TanhGradient& op) {
  Cuda& cuda = cudaOf(backend);
  const int32_t blocks = blocksOf(op.output);
  return launch(cuda, "tanhGradient", backward, int64_t{blocks} * op.output.panels(), dim3(kThreads), 0, op, blocks,
                cuda.failure());
}

}  // namespace hebb::cuda
