// The links that were ever active: what in-time over-parameterisation (ITOP; Liu et al., ICML 2021) counts.
#pragma once

#include <cstdint>

#include "hebb/csr.h"
#include "hebb/regrow.h"

namespace hebb {

/// ever = ever united with the layer's links. Sorted, as row * cols + col. count tells how many there are; the caller
/// provides capacity for the union (at most count + links), else the operation fails and changes nothing.
struct UniteLinks {
  Csr links;
  uint64_t* ever = nullptr;  // [capacity] device
  int64_t* count = nullptr;  // [1] device
  int64_t capacity = 0;
};

/// Counts the new links of an update, and those of them that it has removed before: when nearly all of them return, a
/// layer has found its topology (CHT's early stop; Zhang et al., ICLR 2024).
struct ReturnedLinks {
  Csr links;
  LinkChanges changes;
  int32_t* counts = nullptr;  // [2] device: new links that were removed in this update, new links
};

/// Counts the layer's active neurons and its links.
struct ActiveNeurons {
  Csr links;
  int32_t* counts = nullptr;  // [3] device: columns (inputs) with a link, rows (outputs) with a link, links
};

}  // namespace hebb
