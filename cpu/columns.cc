// Columns are copied a number at a time: where they come from, or go to, they lie apart. kStrip features of all columns
// are done before the next ones, so that the lines that neighbours share are still near. Bound by those lines. What is
// taken out and put back is neighbours, in sixteens, as panels are.
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

namespace {

/// Calls body(number at a feature of the first of 16 columns of `along`, column, feature) for all that are live.
template <class Body>
void eachSixteen(Cpu& cpu, const Activations& along, const Body& body) {
  const int64_t chunks = chunksFor(cpu, int64_t{along.features} * along.columns(), 4096);
  cpu.team.parallel(std::min<int64_t>(along.features, chunks), [&](int64_t chunk, int) {
    const int64_t parts = std::min<int64_t>(along.features, chunks);
    const auto begin = static_cast<int32_t>(along.features * chunk / parts),
               end = static_cast<int32_t>(along.features * (chunk + 1) / parts);
    for (int32_t p = 0; p < along.panels(); ++p) {
      const int32_t live = liveColumns(along, p);
      for (int32_t f = begin; f < end; ++f) {
        for (int32_t c = 0; c < live; c += 16) body(columnOf(along, p * along.panel + c, f), p * along.panel + c, f);
      }
    }
  });
}

/// Which column of `whole` is the first of its part.
int32_t firstOf(const Activations& part, const Activations& whole) { return part.firstColumn() - whole.firstColumn(); }

}  // namespace

Status takeColumns(Backend& backend, const TakeColumns& op) {
  const int32_t first = firstOf(op.output, op.input);
  eachSixteen(cpuOf(backend), op.output,
              [&](float* to, int32_t c, int32_t f) { std::copy_n(columnOf(op.input, first + c, f), 16, to); });
  return {};
}

Status putColumns(Backend& backend, const PutColumns& op) {
  const int32_t first = firstOf(op.input, op.output), columns = op.input.columns();
  if (op.keep) {
    eachSixteen(cpuOf(backend), op.input, [&](const float* from, int32_t c, int32_t f) {
      std::copy_n(from, std::min(16, columns - c), columnOf(op.output, first + c, f));
    });
    return {};
  }
  eachSixteen(cpuOf(backend), op.output, [&](float* to, int32_t c, int32_t f) {
    const int32_t count = c < first ? 0 : std::clamp(first + columns - c, 0, 16);
    if (count > 0) std::copy_n(columnOf(op.input, c - first, f), count, to);
    std::fill_n(to + count, 16 - count, 0.f);
  });
  return {};
}

}  // namespace hebb::cpu
