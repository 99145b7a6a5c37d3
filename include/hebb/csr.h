// A sparse weight matrix W [rows = output neurons][cols = input neurons] and its neighbours in memory.
#pragma once

#include <cstdint>

namespace hebb {

/// One bit for each cell, beside the links of a layer that is dense at times: its forward product then multiplies dense
/// tiles, whose weights are expanded from the links' values as they lie. Null where the layer never is, or the backend
/// gains nothing.
struct Tiles {
  static constexpr int32_t kRows = 16, kParts = 16;
  uint16_t* masks = nullptr;  // [ceil(rows / kRows)][cols] bit r of tile t: a link to row kRows t + r
  int32_t* slots = nullptr;   // [kParts][cols] CSC slot of the column's first link in or behind tile firstTile(part)

  static int32_t count(int32_t rows) { return (rows + kRows - 1) / kRows; }
  static int32_t firstTile(int32_t rows, int64_t part) { return static_cast<int32_t>(count(rows) * part / kParts); }
};

/// The links of one layer in two views of the same set. What belongs to links (values, gradients, optimizer state,
/// scores, flags) lies once, in CSC order: a backward pass goes through it as it lies, with one row of dY for both the
/// link's share of dX and its gradient. Forward finds it through cscSlots. All pointers are device memory. The number
/// of links lives there too (rowOffsets[rows]), so a topology update changes nothing that a recorded Program holds.
struct Csr {
  int32_t rows = 0, cols = 0;
  int32_t capacity = 0;              // links that fit; at least one
  int32_t* rowOffsets = nullptr;     // [rows + 1], ascending from 0
  int32_t* columnIndices = nullptr;  // [capacity], ascending within a row, no duplicates
  int32_t* columnOffsets = nullptr;  // [cols + 1] CSC view
  int32_t* rowIndices = nullptr;     // [capacity] row of each CSC slot, ascending within a column
  int32_t* cscSlots = nullptr;       // [capacity] CSC slot of each CSR slot
  Tiles tiles{};
};

}  // namespace hebb
