// The hyperbolic tangent and its gradient, element by element: four columns a thread. Bound by memory: 8 bytes an
// element forward, 12 backward (16 when it accumulates), over the live columns. The bits are the CPU's.
#include "hebb/tanh.h"

#include "pointwise.cuh"

namespace hebb::cuda {
namespace {

struct Forward {
  Panels<const float> input;
  Panels<float> output;
  __device__ __forceinline__ void at(int32_t p, int64_t i) const {
    store4(output.at(p, i), each4([](float x) { return tanhOf(x); }, load4(input.at(p, i))));
  }
};

struct Backward {
  Panels<const float> output, outputGradient;
  Panels<float> inputGradient;
  bool accumulate;
  __device__ __forceinline__ void at(int32_t p, int64_t i) const {
    const float4 y = load4(output.at(p, i)), dy = load4(outputGradient.at(p, i));
    float* const to = inputGradient.at(p, i);
    float4 gradient = each4([](float y, float g) { return tanhGradientOf(y, g); }, y, dy);
    if (accumulate) gradient = each4([](float g, float sum) { return g + sum; }, gradient, load4(to));
    store4(to, gradient);
  }
};

}  // namespace

Status tanh(Backend& backend, const Tanh& op) {
  return each(cudaOf(backend), "tanh", op.output, Forward{Panels<const float>(op.input), Panels<float>(op.output)});
}

Status tanhGradient(Backend& backend, const TanhGradient& op) {
  return each(cudaOf(backend), "tanhGradient", op.output,
              Backward{Panels<const float>(op.output), Panels<const float>(op.outputGradient),
                       Panels<float>(op.inputGradient), op.accumulate});
}

}  // namespace hebb::cuda
