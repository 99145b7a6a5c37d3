#include "hebb/relu.h"

#include "pointwise.h"

namespace hebb::cpu::HEBB_LEVEL {

Status relu(Backend& backend, const Relu& op) {
  eachVector(cpuOf(backend), op.output, [&](int32_t p) {
    return [in = panelData(op.input, p), out = panelData(op.output, p)](int64_t i) {
      store(out + i, activate(load(in + i), Activation::relu));
    };
  });
  return {};
}

Status reluGradient(Backend& backend, const ReluGradient& op) {
  eachVector(cpuOf(backend), op.output, [&](int32_t p) {
    const float *y = panelData(op.output, p), *dy = panelData(op.outputGradient, p);
    return [y, dy, dx = panelData(op.inputGradient, p), accumulate = op.accumulate](int64_t i) {
      Vec g = load(y + i) > Vec{} ? load(dy + i) : Vec{};
      if (accumulate) g += load(dx + i);
      store(dx + i, g);
    };
  });
  return {};
}

}  // namespace hebb::cpu::HEBB_LEVEL
