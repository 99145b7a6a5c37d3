// Initial weights.
#pragma once

#include <cstdint>

#include "hebb/csr.h"

namespace hebb {

/// values[l] ~ N(0, deviation^2), drawn at the link's coordinates: the same link gets the same weight whatever the others are. With
/// pattern.columnOffsets null: a dense [rows][cols] matrix.
struct InitializeNormal {
  Csr pattern;
  float* values = nullptr;  // device
  double deviation = 1;
  uint64_t seed = 0;
  int32_t layer = 0;
};

}  // namespace hebb
