// The walk of operations that take each element by itself.
#pragma once

#include "cpu.h"
#include "level.h"

namespace hebb::cpu::HEBB_LEVEL {

/// Calls of(p)(offset) for every live vector of panel p of the rows of `a`, offset in floats from the panel's start.
/// What of() gives holds the addresses of the panel's operands.
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

}  // namespace hebb::cpu::HEBB_LEVEL
