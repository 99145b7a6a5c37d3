// Activation functions and their gradients, a vector of columns at a time, by the formulas of the contract, which CUDA
// shares. Relu and its derivative mostly run inside the products around them (engine/fusion.cc).
#include "hebb/activation_functions.h"

#include "pointwise.h"

namespace hebb::cpu::HEBB_LEVEL {
namespace {

template <class Formula>
Status apply(Backend& backend, const ActivationFunction<Formula>& op) {
  eachVector(cpuOf(backend), op.output, [&](int32_t p) {
    return [x = panelData(op.input, p), y = panelData(op.output, p)](int64_t i) {
      store(y + i, Formula::value(load(x + i)));
    };
  });
  return {};
}

template <class Formula>
Status apply(Backend& backend, const ActivationGradient<Formula>& op) {
  eachVector(cpuOf(backend), op.at, [&](int32_t p) {
    const float *at = panelData(op.at, p), *dy = panelData(op.outputGradient, p);
    return [at, dy, dx = panelData(op.inputGradient, p), accumulate = op.accumulate](int64_t i) {
      Vec g = Formula::gradient(load(at + i), load(dy + i));
      if (accumulate) g += load(dx + i);
      store(dx + i, g);
    };
  });
  return {};
}

}  // namespace

Status relu(Backend& backend, const Relu& op) { return apply(backend, op); }
Status reluGradient(Backend& backend, const ReluGradient& op) { return apply(backend, op); }
Status tanh(Backend& backend, const Tanh& op) { return apply(backend, op); }
Status tanhGradient(Backend& backend, const TanhGradient& op) { return apply(backend, op); }
Status sigmoid(Backend& backend, const Sigmoid& op) { return apply(backend, op); }
Status sigmoidGradient(Backend& backend, const SigmoidGradient& op) { return apply(backend, op); }
Status silu(Backend& backend, const Silu& op) { return apply(backend, op); }
Status siluGradient(Backend& backend, const SiluGradient& op) { return apply(backend, op); }
Status gelu(Backend& backend, const Gelu& op) { return apply(backend, op); }
Status geluGradient(Backend& backend, const GeluGradient& op) { return apply(backend, op); }

}  // namespace hebb::cpu::HEBB_LEVEL
