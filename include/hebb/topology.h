// Initial networks. Host functions: they make the links of a layer in host memory, in O(links + neurons), from the seed alone.
#pragma once

#include <atomic>
#include <cstdint>
#include <vector>

#include "hebb/status.h"

namespace hebb {

struct HostCsr {
  std::vector<int32_t> rowOffsets, columnIndices;
};

struct BrfOptions {
  double randomness = 0.25;   // r in [0, 1]: 0 the nearest neurons, 1 uniform
  bool uniformDegrees = false;// false: equal degrees up to rounding; true: one link each (where there are that many), the rest thrown at random
};

/// Bipartite receptive field network: each neuron of the smaller side draws its links without replacement with probability proportional to
/// (1 + ring distance)^(-(1-r)/r) on the larger side. Gives up with Code::aborted when `stop`, unless null, becomes true.
Status bipartiteReceptiveField(int32_t rows, int32_t cols, int64_t links, const BrfOptions& options, uint64_t seed, int32_t layer, HostCsr* out,
                               const std::atomic<bool>* stop = nullptr);

/// Exactly `links` cells, all sets alike.
Status erdosRenyi(int32_t rows, int32_t cols, int64_t links, uint64_t seed, int32_t layer, HostCsr* out);

}  // namespace hebb
