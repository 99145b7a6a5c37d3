// The links of a layer in host memory.
#pragma once

#include <cstdint>
#include <vector>

namespace hebb {

struct HostCsr {
  std::vector<int32_t> rowOffsets;     // [rows + 1], ascending from 0
  std::vector<int32_t> columnIndices;  // [links], ascending within a row, no duplicates
};

}  // namespace hebb
