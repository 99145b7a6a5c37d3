#include "hebb/tanh.h"

#include "cpu.h"
#include "level.h"

namespace hebb::cpu::HEBB_LEVEL {
namespace {

/// Calls body(panel, offset) for every live vector of the rows, offset in floats from the panel's start.
template <class Body>
void eachVectorOf(Cpu& cpu, const Activations& a, const Body& body) {
  const int64_t chunks = chunksFor(cpu, int64_t{a.features} * a.panels(), 512);
  cpu.team.parallel(chunks, [&](int64_t chunk, int) {
    for (int32_t p = 0; p < a.panels(); ++p) {
      const int32_t live = liveColumns(a, p);
      for (int64_t f = a.features * chunk / chunks, end = a.features * (chunk + 1) / chunks; f < end; ++f) {
        for (int32_t c = 0; c < live; c += W) body(p, f * a.panel + c);
      }
    }
  });
}

}  // namespace

Status tanh(Backend& backend, const Tanh& op) {
  eachVectorOf(cpuOf(backend), op.output, [&](int32_t p, int64_t i) {
    store(panelData(op.output, p) + i, tanhOf(load(panelData(op.input, p) + i)));
  });
  return {};
}

Status tanhGradient(Backend& backend, const TanhGradient& op) {
  eachVectorOf(cpuOf(backend), op.output, [&](int32_t p, int64_t i) {
    float* const dx = panelData(op.inputGradient, p) + i;
    Vec g = tanhGradientOf(load(panelData(op.output, p) + i), load(panelData(op.outputGradient, p) + i));
    if (op.accumulate) g += load(dx);
    store(dx, g);
  });
  return {};
}

}  // namespace hebb::cpu::HEBB_LEVEL
