// Columns are copied a number at a time: where they come from, or go to, they lie apart. kStrip features of all columns
// are done before the next ones, so that the lines that neighbours share are still near. Bound by those lines.
#include "hebb/columns.h"

#include <algorithm>
#include <string>

#include "cpu.h"

namespace hebb::cpu {
namespace {

constexpr int32_t kStrip = 8;  // features

/// Whether the indices are columns that fit: they lie in memory that anyone may write.
Status checkIndices(const int32_t* indices, const Activations& along, int32_t capacity) {
  for (int32_t c = along.firstColumn(), end = c + along.columns(); c < end; ++c) {
    if (indices[c] >= 0 && indices[c] < capacity) continue;
    return {Code::invalidArgument, "Expected indices in [0, " + std::to_string(capacity) + "), got " +
                                       std::to_string(indices[c]) + " at " + std::to_string(c)};
  }
  return {};
}

float* columnOf(const Activations& a, int32_t column, int32_t feature) {
  return panelData(a, column / a.panel) + int64_t{feature} * a.panel + column % a.panel;
}

/// Calls body(column, feature, features) for strips of features and the columns of `along`.
template <class Body>
void eachStrip(Cpu& cpu, const Activations& along, const Body& body) {
  const int32_t strips = (along.features + kStrip - 1) / kStrip, columns = along.columns();
  const int64_t chunks = std::min<int64_t>(strips, chunksFor(cpu, int64_t{strips} * columns, 512));
  cpu.team.parallel(chunks, [&](int64_t chunk, int) {
    for (int64_t s = strips * chunk / chunks, end = strips * (chunk + 1) / chunks; s < end; ++s) {
      const auto feature = static_cast<int32_t>(s) * kStrip;
      for (int32_t c = 0; c < columns; ++c) body(c, feature, std::min(kStrip, along.features - feature));
    }
  });
}

}  // namespace

Status gatherColumns(Backend& backend, const GatherColumns& op) {
  const Activations &in = op.input, &out = op.output;
  HEBB_RETURN_IF_ERROR(checkIndices(op.indices, out, in.capacity));
  const int32_t* const indices = op.indices + out.firstColumn();
  const int32_t columns = out.columns(), spare = (16 - columns % 16) % 16;
  eachStrip(cpuOf(backend), out, [&](int32_t c, int32_t feature, int32_t features) {
    const float* const from = columnOf(in, indices[c], feature);
    float* const to = columnOf(out, c, feature);
    for (int32_t f = 0; f < features; ++f) to[int64_t{f} * out.panel] = from[int64_t{f} * in.panel];
    if (c + 1 < columns) return;
    for (int32_t f = 0; f < features; ++f) std::fill_n(to + int64_t{f} * out.panel + 1, spare, 0.f);
  });
  return {};
}

Status scatterColumns(Backend& backend, const ScatterColumns& op) {
  const Activations &in = op.input, &out = op.output;
  HEBB_RETURN_IF_ERROR(checkIndices(op.indices, in, out.capacity));
  const int32_t* const indices = op.indices + in.firstColumn();
  eachStrip(cpuOf(backend), in, [&](int32_t c, int32_t feature, int32_t features) {
    const float* const from = columnOf(in, c, feature);
    float* const to = columnOf(out, indices[c], feature);
    for (int32_t f = 0; f < features; ++f) to[int64_t{f} * out.panel] = from[int64_t{f} * in.panel];
  });
  return {};
}

}  // namespace hebb::cpu
