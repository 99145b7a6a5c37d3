#include "hebb/rebuild.h"

#include <algorithm>
#include <cstring>

#include "cpu.h"

namespace hebb::cpu {

Status transpose(Backend&, const Transpose& op) {
  const Csr& w = op.links;
  int32_t* offsets = w.columnOffsets;
  std::fill(offsets, offsets + w.cols + 1, 0);
  for (int32_t k = 0; k < w.rowOffsets[w.rows]; ++k) ++offsets[w.columnIndices[k] + 1];
  for (int32_t c = 0; c < w.cols; ++c) offsets[c + 1] += offsets[c];
  // Offsets serve as cursors while the slots are filled, which moves each to its successor's start; then they move back.
  for (int32_t r = 0; r < w.rows; ++r) {
    for (int32_t k = w.rowOffsets[r]; k < w.rowOffsets[r + 1]; ++k) {
      const int32_t slot = offsets[w.columnIndices[k]]++;
      w.rowIndices[slot] = r;
      w.csrSlots[slot] = k;
    }
  }
  for (int32_t c = w.cols; c > 0; --c) offsets[c] = offsets[c - 1];
  offsets[0] = 0;
  return {};
}

Status beginUpdate(Backend&, const BeginUpdate& op) {
  std::fill(op.changes.keep, op.changes.keep + op.links.capacity, uint8_t{1});
  *op.changes.newCount = 0;
  return {};
}

Status rebuild(Backend& backend, const Rebuild& op) {
  Cpu& cpu = cpuOf(backend);
  const Csr& w = op.links;
  const int32_t *newRows = op.changes.newRows, *newColumns = op.changes.newColumns, added = *op.changes.newCount;
  const uint8_t* keep = op.changes.keep;
  Scratch<int32_t> offsets(backend), columns(backend), sources(backend);
  Scratch<float> moved(backend);
  HEBB_RETURN_IF_ERROR(offsets.allocate(int64_t{w.rows} + 1));
  int32_t n = 0;
  for (int32_t r = 0, next = 0; r < w.rows; ++r) {
    offsets[r] = n;
    for (int32_t k = w.rowOffsets[r]; k < w.rowOffsets[r + 1]; ++k) n += keep[k];
    for (; next < added && newRows[next] == r; ++next) ++n;
  }
  offsets[w.rows] = n;
  if (n > w.capacity) {
    return {Code::invalidArgument, "Expected at most " + std::to_string(w.capacity) + " links, got " + std::to_string(n)};
  }
  HEBB_RETURN_IF_ERROR(columns.allocate(n));
  HEBB_RETURN_IF_ERROR(sources.allocate(n));
  HEBB_RETURN_IF_ERROR(moved.allocate(n));
  const int64_t chunks = chunksFor(cpu, n, 8192);
  cpu.team.parallel(chunks, [&](int64_t chunk, int) {
    const int32_t first = static_cast<int32_t>(w.rows * chunk / chunks), last = static_cast<int32_t>(w.rows * (chunk + 1) / chunks);
    int32_t next = static_cast<int32_t>(std::lower_bound(newRows, newRows + added, first) - newRows);
    for (int32_t r = first; r < last; ++r) {
      int32_t at = offsets[r];
      const int32_t begin = w.rowOffsets[r], end = w.rowOffsets[r + 1];
      for (int32_t k = begin;;) {
        while (k < end && !keep[k]) ++k;
        const bool fresh = next < added && newRows[next] == r;
        if (k == end && !fresh) break;
        if (fresh && (k == end || newColumns[next] < w.columnIndices[k])) {
          const int32_t column = newColumns[next++];
          // A link that was removed and chosen again is found among the old ones.
          const int32_t* old = std::lower_bound(w.columnIndices + begin, w.columnIndices + end, column);
          sources[at] = old < w.columnIndices + end && *old == column ? static_cast<int32_t>(old - w.columnIndices) : -1;
          columns[at++] = column;
        } else {
          sources[at] = k;
          columns[at++] = w.columnIndices[k++];
        }
      }
    }
  });
  for (float* array : op.arrays) {
    cpu.team.parallel(chunks, [&](int64_t chunk, int) {
      for (int64_t i = n * chunk / chunks; i < n * (chunk + 1) / chunks; ++i) moved[i] = sources[i] < 0 ? 0.f : array[sources[i]];
    });
    std::memcpy(array, moved.data(), static_cast<size_t>(n) * sizeof(float));
  }
  std::memcpy(w.rowOffsets, offsets.data(), (static_cast<size_t>(w.rows) + 1) * sizeof(int32_t));
  std::memcpy(w.columnIndices, columns.data(), static_cast<size_t>(n) * sizeof(int32_t));
  return transpose(backend, {w});
}

}  // namespace hebb::cpu
