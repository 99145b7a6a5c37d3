// Activation functions and their gradients, element by element: four columns a thread. Bound by memory: 8 bytes an
// element forward, 12 backward (16 when it accumulates), over the live columns. The bits are the CPU's. Operands may be
// in place, so nothing is read through the read-only cache.
#include "hebb/activation_functions.h"

#include "pointwise.cuh"

namespace hebb::cuda {
namespace {

template <class Formula>
struct Forward {
  Panels<const float> input;
  Panels<float> output;
  __device__ __forceinline__ void at(int32_t p, int64_t i) const {
    store4(output.at(p, i), each4([](float x) { return Formula::value(x); }, load4(input.at(p, i))));
  }
};

template <class Formula>
struct Backward {
  Panels<const float> place, outputGradient;
  Panels<float> inputGradient;
  bool accumulate;
  __device__ __forceinline__ void at(int32_t p, int64_t i) const {
    const float4 x = load4(place.at(p, i)), dy = load4(outputGradient.at(p, i));
    float* const to = inputGradient.at(p, i);
    float4 gradient = each4([](float x, float g) { return Formula::gradient(x, g); }, x, dy);
    if (accumulate) gradient = each4([](float g, float sum) { return g + sum; }, gradient, load4(to));
    store4(to, gradient);
  }
};

template <class Formula>
Status apply(Backend& backend, const char* name, const ActivationFunction<Formula>& op) {
  return each(cudaOf(backend), name, op.output,
              Forward<Formula>{Panels<const float>(op.input), Panels<float>(op.output)});
}

template <class Formula>
Status apply(Backend& backend, const char* name, const ActivationGradient<Formula>& op) {
  return each(cudaOf(backend), name, op.at,
              Backward<Formula>{Panels<const float>(op.at), Panels<const float>(op.outputGradient),
                                Panels<float>(op.inputGradient), op.accumulate});
}

}  // namespace

Status relu(Backend& backend, const Relu& op) { return apply(backend, "relu", op); }
Status reluGradient(Backend& backend, const ReluGradient& op) { return apply(backend, "reluGradient", op); }
Status tanh(Backend& backend, const Tanh& op) { return apply(backend, "tanh", op); }
Status tanhGradient(Backend& backend, const TanhGradient& op) { return apply(backend, "tanhGradient", op); }
Status sigmoid(Backend& backend, const Sigmoid& op) { return apply(backend, "sigmoid", op); }
Status sigmoidGradient(Backend& backend, const SigmoidGradient& op) { return apply(backend, "sigmoidGradient", op); }
Status silu(Backend& backend, const Silu& op) { return apply(backend, "silu", op); }
Status siluGradient(Backend& backend, const SiluGradient& op) { return apply(backend, "siluGradient", op); }
Status gelu(Backend& backend, const Gelu& op) { return apply(backend, "gelu", op); }
Status geluGradient(Backend& backend, const GeluGradient& op) { return apply(backend, "geluGradient", op); }

}  // namespace hebb::cuda
