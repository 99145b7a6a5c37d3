// Percolation: a neuron that lost all links on one side passes nothing on; its dangling links on the other side go too.
#pragma once

#include <cstdint>
#include <vector>

#include "hebb/csr.h"

namespace hebb {

/// Layers whose neurons are the same: the outputs of `first` are the inputs of `second` (consecutive), or both have the
/// same outputs (joint).
struct LayerRelation {
  enum class Kind : int32_t { consecutive = 0, joint = 1 };
  int32_t first = 0, second = 0;  // places in Percolate::layers
  Kind kind = Kind::consecutive;
};

/// Clears the flags of dangling links: backward over the relations, then forward. Layers and relations are host lists
/// of device views, in the order of the network.
struct Percolate {
  struct Layer {
    Csr links;
    uint8_t* keep = nullptr;  // [links] device, 0 or 1
  };
  std::vector<Layer> layers;
  std::vector<LayerRelation> relations;
};

}  // namespace hebb
