#include "hebb/relu.h"

#include "cpu.h"
#include "level.h"

namespace hebb::cpu::HEBB_LEVEL {
namespace {

/// Calls body(offset) for every live vector of an activation, offset in floats from its data.
template <class Body>
void eachVector(Cpu& cpu, const Activations& a, const Body& body) {
  const int64_t chunks = chunksFor(cpu, int64_t{a.features} * a.panels(), 512);
  cpu.team.parallel(chunks, [&](int64_t chunk, int) {
    for (int32_t p = 0; p < a.panels(); ++p) {
      const int32_t live = liveColumns(a, p);
      for (int64_t f = a.features * chunk / chunks, end = a.features * (chunk + 1) / chunks; f < end; ++f) {
        const int64_t row = (static_cast<int64_t>(p) * a.features + f) * a.panel;
        for (int32_t c = 0; c < live; c += W) body(row + c);
      }
    }
  });
}

}  // namespace

Status relu(Backend& backend, const Relu& op) {
  eachVector(cpuOf(backend), op.output,
             [&](int64_t i) { store(op.output.data + i, activate(load(op.input.data + i), Activation::relu)); });
  return {};
}

Status reluGradient(Backend& backend, const ReluGradient& op) {
  eachVector(cpuOf(backend), op.output, [&](int64_t i) {
    Vec g = load(op.output.data + i) > Vec{} ? load(op.outputGradient.data + i) : Vec{};
    if (op.accumulate) g += load(op.inputGradient.data + i);
    store(op.inputGradient.data + i, g);
  });
  return {};
}

}  // namespace hebb::cpu::HEBB_LEVEL
