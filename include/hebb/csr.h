// A sparse weight matrix W [rows = output neurons][cols = input neurons] and its neighbours in memory.
#pragma once

#include <cstdint>

namespace hebb {

/// The links of one layer in two views of the same set. All pointers are device memory. The number of links lives there too
/// (rowOffsets[rows]), so a topology update changes nothing that a recorded Program holds.
struct Csr {
  int32_t rows = 0, cols = 0;
  int32_t capacity = 0;             // links that fit; at least one
  int32_t* rowOffsets = nullptr;    // [rows + 1], ascending from 0
  int32_t* columnIndices = nullptr; // [capacity], ascending within a row, no duplicates
  int32_t* columnOffsets = nullptr; // [cols + 1] CSC view
  int32_t* rowIndices = nullptr;    // [capacity] row of each CSC slot, ascending within a column
  int32_t* csrSlots = nullptr;      // [capacity] CSR slot of each CSC slot: values live once, in CSR order
};

}  // namespace hebb
