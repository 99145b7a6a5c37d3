// The rectifier and its gradient, element by element: four columns a thread. Bound by memory: 8 bytes an element
// forward, 12 backward (16 when it accumulates), over the live columns. The bits are the CPU's. Operands may be in
// place, so nothing is read through the read-only cache.
#include "hebb/relu.h"

#include "pointwise.cuh"

namespace hebb::cuda {
namespace {

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
