// Pruned links that may return with the weights they had: the historical weights of gradual magnitude pruning (GMP; Zhu
// and Gupta 2017). An update is openPool, the choice by importance and keepLinks on the pool's links, chooseFromPool,
// rebuild, restoreWeights.
#pragma once

#include <cstdint>

#include "hebb/csr.h"
#include "hebb/regrow.h"

namespace hebb {

/// Links that a layer may have, with the weight that each had last. They never change.
struct Pool {
  Csr links;
  float* values = nullptr;  // [links] device, CSC order
  uint8_t* keep = nullptr;  // [links] device, 0 or 1: the choice that is being made, CSC order
};

/// Opens a choice: the pool's links that the layer has are given its weights, and all are kept.
struct OpenPool {
  Csr links;
  const float* values = nullptr;  // [capacity] device
  Pool pool;
};

/// Makes the choice the layer's update: its links that the pool does not keep, or does not have, are removed; those
/// that are kept and missing are its new links. The caller provides capacity for as many links as are kept, else the
/// operation fails and changes nothing.
struct ChooseFromPool {
  Csr links;
  LinkChanges changes;
  Pool pool;
};

/// Gives the layer's links the weights that they have in the pool; a link that the pool does not have keeps its own.
struct RestoreWeights {
  Csr links;
  float* values = nullptr;  // [capacity] device
  Pool pool;
};

}  // namespace hebb
