// The walks of operations that take each element, or each column, by itself.
#pragma once

#include <algorithm>
#include <type_traits>

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

/// Columns that eachColumns() gives at once: whole lines of the cache.
inline constexpr int32_t kNeighbours = 32;

/// Calls body(NV, p, c), NV a constant, for NV vectors of live columns from column c of panel p on.
template <class Body>
void eachColumns(Cpu& cpu, const Activations& a, const Body& body) {
  const int64_t ofPanel = (a.panel + kNeighbours - 1) / kNeighbours, units = ofPanel * a.panels();
  const int64_t chunks = std::min(units, chunksFor(cpu, units * a.features, 512));
  cpu.team.parallel(chunks, [&](int64_t chunk, int) {
    for (int64_t u = units * chunk / chunks, end = units * (chunk + 1) / chunks; u < end; ++u) {
      const auto p = static_cast<int32_t>(u / ofPanel), c = static_cast<int32_t>(u % ofPanel) * kNeighbours;
      const int32_t live = liveColumns(a, p) - c;
      if (live >= kNeighbours) body(std::integral_constant<int, kNeighbours / W>{}, p, c);
      else if (live > 0) body(std::integral_constant<int, 16 / W>{}, p, c);
    }
  });
}

}  // namespace hebb::cpu::HEBB_LEVEL
