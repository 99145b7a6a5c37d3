#include "hebb/relu.h"

#include "cpu.h"
#include "level.h"

namespace hebb::cpu::HEBB_LEVEL {
namespace {

/// Calls of(p)(offset) for every live vector of panel p, offset in floats from the panel's start.
template <class Body>
void eachVector(Cpu& cpu, const Activations& a, const Body& of) {
  const int64_t chunks = chunksFor(cpu, int64_t{a.features} * a.panels(), 512);
  cpu.team.parallel(chunks, [&](int64_t chunk, int) {
    for (int32_t p = 0; p < a.panels(); ++p) {
      const int32_t live = liveColumns(a, p);
      const auto body = of(p);
      for (int64_t f = a.features * chunk / chunks, end = a.features * (chunk + 1) / chunks; f < end; ++f) {
        const int64_t row = f * a.panel;
        for (int32_t c = 0; c < live; c += W) body(row + c);
      }
    }
  });
}

}  // namespace

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
