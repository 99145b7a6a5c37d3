// The rectifier and its gradient, element by element: four columns a thread. Bound by memory: 8 bytes an element
// forward, 12 backward (16 when it accumulates), over the live columns. The bits are the CPU's. Operands may be in
// place, so nothing is read through the read-only cache.
#include "hebb/relu.h"

#include "launch.cuh"

namespace hebb::cuda {
namespace {

constexpr int kThreads = 256;

/// The panels of an operand; views have them further apart.
template <class Number>
struct Panels {
  Number* data;
  int64_t stride;
  explicit Panels(const Activations& a) : data(a.data), stride(a.panelStride()) {}
  __device__ __forceinline__ Number* at(int32_t p, int64_t i) const { return data + p * stride + i; }
};

/// A NaN passes through, so that it is seen where it counts.
struct Forward {
  Panels<const float> input;
  Panels<float> output;
  __device__ __forceinline__ void at(int32_t p, int64_t i) const {
    store4(output.at(p, i), each4([](float x) { return x < 0.f ? 0.f : x; }, load4(input.at(p, i))));
  }
};

struct Backward {
  Panels<const float> output, outputGradient;
  Panels<float> inputGradient;
  bool accumulate;
  __device__ __forceinline__ void at(int32_t p, int64_t i) const {
    const float4 y = load4(output.at(p, i)), dy = load4(outputGradient.at(p, i));
    float* const to = inputGradient.at(p, i);
    float4 gradient = each4([](float y, float g) { return y > 0.f ? g : 0.f; }, y, dy);
    if (accumulate) gradient = each4([](float g, float sum) { return g + sum; }, gradient, load4(to));
    store4(to, gradient);
  }
};

/// Four columns of a panel's rows to a thread: `blocksOfPanel` blocks cover the panel.
template <class Body>
__global__ void __launch_bounds__(kThreads)
    eachElement(Activations a, Body body, int32_t blocksOfPanel, const Failure* failure) {
  const int32_t block = static_cast<int32_t>(blockIdx.x), p = block / blocksOfPanel, quarter = a.panel / 4;
  const int64_t i = int64_t{block % blocksOfPanel} * kThreads + static_cast<int>(threadIdx.x);
  if (i >= int64_t{a.features} * quarter) return;
  if (static_cast<int32_t>(i % quarter) * 4 >= liveColumns(a.columns, a.capacity, a.panel, p) || failed(failure))
    return;
  body.at(p, i * 4);
}

template <class Body>
Status each(Cuda& cuda, const char* operation, const Activations& a, const Body& body) {
  const int64_t blocksOfPanel = (int64_t{a.features} * (a.panel / 4) + kThreads - 1) / kThreads;
  return launch(cuda, operation, eachElement<Body>, blocksOfPanel * a.panels(), dim3(kThreads), 0, a, body,
                static_cast<int32_t>(blocksOfPanel), cuda.failure());
}

}  // namespace

Status relu(Backend& backend, const Relu& op) {
  return each(cudaOf(backend), "relu", op.output, Forward{Panels<const float>(op.input), Panels<float>(op.output)});
}

Status reluGradient(Backend& backend, const ReluGradient& op) {
  return each(cudaOf(backend), "reluGradient", op.output,
              Backward{Panels<const float>(op.output), Panels<const float>(op.outputGradient),
                       Panels<float>(op.inputGradient), op.accumulate});
}

}  // namespace hebb::cuda
