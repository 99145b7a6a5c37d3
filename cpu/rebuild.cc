// Transposes a layer's links, and brings a layer to a new topology: chunks of rows count what they come to, then write
// it. All memory is there before the first place of the layer is written, so a rebuild that fails has changed nothing.
#include "hebb/rebuild.h"

#include <algorithm>
#include <cstring>
#include <utility>
#include <vector>

#include "cpu.h"

namespace hebb::cpu {
namespace {

/// Room for transposing in parallel: each part of the rows has its own place in every column.
struct Cursors {
  Scratch<int32_t> next;  // [parts][cols]
  int64_t parts = 0;
  explicit Cursors(Backend& backend) : next(backend) {}
  Status allocate(Cpu& cpu, const Csr& w, int64_t links) {
    parts = std::min<int64_t>(cpu.team.size(), links / 8192 + 1);
    return next.allocate(parts * w.cols);
  }
};

/// Marks the links in the tiles that dense products read.
void markTiles(Cpu& cpu, const Csr& w) {
  const int32_t tiles = Tiles::count(w.rows);
  const int64_t chunks = chunksFor(cpu, w.cols, 64);
  cpu.team.parallel(chunks, [&](int64_t chunk, int) {
    const int32_t first = static_cast<int32_t>(w.cols * chunk / chunks),
                  last = static_cast<int32_t>(w.cols * (chunk + 1) / chunks);
    for (int32_t t = 0; t < tiles; ++t)
      std::fill(w.tiles.masks + int64_t{t} * w.cols + first, w.tiles.masks + int64_t{t} * w.cols + last, uint16_t{0});
    for (int32_t c = first; c < last; ++c) {
      int32_t part = 0;
      for (int32_t k = w.columnOffsets[c]; k < w.columnOffsets[c + 1]; ++k) {
        const int32_t row = w.rowIndices[k], tile = row / Tiles::kRows;
        for (; part < Tiles::kParts && Tiles::firstTile(w.rows, part) <= tile; ++part)
          w.tiles.slots[int64_t{part} * w.cols + c] = k;
        w.tiles.masks[int64_t{tile} * w.cols + c] |= static_cast<uint16_t>(1u << row % Tiles::kRows);
      }
      for (; part < Tiles::kParts; ++part) w.tiles.slots[int64_t{part} * w.cols + c] = w.columnOffsets[c + 1];
    }
  });
}

void transposeBy(Cpu& cpu, const Csr& w, const Cursors& cursors) {
  const auto eachLink = [&](const auto& body) {
    cpu.team.parallel(cursors.parts, [&](int64_t part, int) {
      int32_t* next = cursors.next.data() + part * w.cols;
      for (int32_t r = firstRow(w.rowOffsets, w.rows, part, cursors.parts),
                   last = firstRow(w.rowOffsets, w.rows, part + 1, cursors.parts);
           r < last; ++r) {
        for (int32_t k = w.rowOffsets[r]; k < w.rowOffsets[r + 1]; ++k) body(next[w.columnIndices[k]], r, k);
      }
    });
  };
  eachLink([](int32_t& next, int32_t, int32_t) { ++next; });
  int32_t at = 0;
  for (int32_t c = 0; c < w.cols; ++c) {
    w.columnOffsets[c] = at;
    for (int64_t part = 0; part < cursors.parts; ++part) at += std::exchange(cursors.next[part * w.cols + c], at);
  }
  w.columnOffsets[w.cols] = at;
  eachLink([&](int32_t& next, int32_t r, int32_t k) {
    const int32_t slot = next++;
    w.rowIndices[slot] = r;
    w.cscSlots[k] = slot;
  });
  if (isDense(cpu, w)) markTiles(cpu, w);
}

}  // namespace

Status transpose(Backend& backend, const Transpose& op) {
  Cpu& cpu = cpuOf(backend);
  Cursors cursors(backend);
  HEBB_RETURN_IF_ERROR(cursors.allocate(cpu, op.links, op.links.rowOffsets[op.links.rows]));
  transposeBy(cpu, op.links, cursors);
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
  // Chunks of rows count the links they come to, then write them.
  struct Start {
    int64_t row, fresh, link;
  };
  const int64_t chunks = chunksFor(cpu, w.rowOffsets[w.rows] + added, 8192);
  std::vector<Start> starts(static_cast<size_t>(chunks) + 1);
  cpu.team.parallel(chunks, [&](int64_t chunk, int) {
    const int32_t first = firstRow(w.rowOffsets, w.rows, chunk, chunks),
                  last = firstRow(w.rowOffsets, w.rows, chunk + 1, chunks);
    const auto freshBefore = [&](int32_t row) { return std::lower_bound(newRows, newRows + added, row) - newRows; };
    int64_t links = freshBefore(last) - freshBefore(first);
    for (int32_t k = w.rowOffsets[first]; k < w.rowOffsets[last]; ++k) links += keep[w.cscSlots[k]];
    starts[static_cast<size_t>(chunk)] = {first, freshBefore(first), links};
  });
  int64_t n = 0;
  for (Start& start : starts) n += std::exchange(start.link, n);
  starts.back() = {w.rows, added, n};
  if (n > w.capacity) {
    return {Code::invalidArgument,
            "Expected at most " + std::to_string(w.capacity) + " links, got " + std::to_string(n)};
  }
  // `sources`: the places in the arrays, by the new rows.
  Scratch<int32_t> offsets(backend), columns(backend), sources(backend);
  Scratch<float> moved(backend);
  Cursors cursors(backend);
  HEBB_RETURN_IF_ERROR(offsets.allocate(int64_t{w.rows} + 1));
  HEBB_RETURN_IF_ERROR(columns.allocate(n));
  HEBB_RETURN_IF_ERROR(sources.allocate(n));
  HEBB_RETURN_IF_ERROR(moved.allocate(n));
  HEBB_RETURN_IF_ERROR(cursors.allocate(cpu, w, n));
  offsets[w.rows] = static_cast<int32_t>(n);
  cpu.team.parallel(chunks, [&](int64_t chunk, int) {
    const Start &start = starts[static_cast<size_t>(chunk)], &end = starts[static_cast<size_t>(chunk) + 1];
    int64_t at = start.link, next = start.fresh;
    for (int64_t r = start.row; r < end.row; ++r) {
      offsets[r] = static_cast<int32_t>(at);
      const auto fresh = [&] { return next < added && newRows[next] == r ? newColumns[next] : INT32_MAX; };
      int32_t column = fresh();
      const auto grow = [&] {
        sources[at] = -1;
        columns[at++] = column;
        ++next;
        column = fresh();
      };
      // Written whether it stays or not, and overwritten then, but not into the next chunk's place.
      for (int32_t k = w.rowOffsets[r]; k < w.rowOffsets[r + 1]; ++k) {
        while (column < w.columnIndices[k]) grow();
        if (at == end.link) break;
        const bool again = column == w.columnIndices[k];  // removed and chosen again: it keeps what it had
        sources[at] = w.cscSlots[k];
        columns[at] = w.columnIndices[k];
        at += keep[w.cscSlots[k]] | again;
        if (again) {
          ++next;
          column = fresh();
        }
      }
      while (column != INT32_MAX) grow();
    }
  });
  std::memcpy(w.rowOffsets, offsets.data(), (static_cast<size_t>(w.rows) + 1) * sizeof(int32_t));
  std::memcpy(w.columnIndices, columns.data(), static_cast<size_t>(n) * sizeof(int32_t));
  transposeBy(cpu, w, cursors);
  for (float* array : op.arrays) {
    cpu.team.parallel(chunks, [&](int64_t chunk, int) {
      for (int64_t i = n * chunk / chunks; i < n * (chunk + 1) / chunks; ++i)
        moved[w.cscSlots[i]] = sources[i] < 0 ? 0.f : array[sources[i]];
    });
    std::memcpy(array, moved.data(), static_cast<size_t>(n) * sizeof(float));
  }
  return {};
}

}  // namespace hebb::cpu
