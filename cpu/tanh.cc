#include "hebb/tanh.h"

#include "pointwise.h"

namespace hebb::cpu::HEBB_LEVEL {

Status tanh(Backend& backend, const Tanh& op) {
  eachVector(cpuOf(backend), op.output, [&](int32_t p) {
    return [x = panelData(op.input, p), y = panelData(op.output, p)](int64_t i) { store(y + i, tanhOf(load(x + i))); };
  });
  return {};
}

Status tanhGradient(Backend& backend, const TanhGradient& op) {
  eachVector(cpuOf(backend), op.output, [&](int32_t p) {
    const float *y = panelData(op.output, p), *dy = panelData(op.outputGradient, p);
    return [y, dy, dx = panelData(op.inputGradient, p), accumulate = op.accumulate](int64_t i) {
      Vec g = tanhGradientOf(load(y + i), load(dy + i));
      if (accumulate) g += load(dx + i);
      store(dx + i, g);
    };
  });
  return {};
}

}  // namespace hebb::cpu::HEBB_LEVEL
