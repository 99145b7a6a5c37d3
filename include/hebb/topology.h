// Initial networks. Host functions: they make the links of a layer in host memory, in O(links + neurons), from the seed
// alone.
#pragma once

#include <atomic>
#include <cstdint>
#include <vector>

#include "hebb/correlation.h"
#include "hebb/host_csr.h"
#include "hebb/status.h"

namespace hebb::networks {

struct BrfOptions {
  double randomness = 0.25;     // r in [0, 1]: 0 the nearest neurons, 1 uniform
  bool uniformDegrees = false;  // false: equal degrees up to rounding; true: one link each (where there are that many),
                                // the rest thrown at random
};

/// Bipartite receptive field network: each neuron of the smaller side draws its links without replacement with
/// probability proportional to (1 + ring distance)^(-(1-r)/r) on the larger side. Gives up with Code::aborted when
/// `stop`, unless null, becomes true.
Status bipartiteReceptiveField(int32_t rows, int32_t cols, int64_t links, const BrfOptions& options, uint64_t seed,
                               int32_t layer, HostCsr* out, const std::atomic<bool>* stop = nullptr);

/// Exactly `links` cells, all sets alike.
Status erdosRenyi(int32_t rows, int32_t cols, int64_t links, uint64_t seed, int32_t layer, HostCsr* out);

/// Bipartite small world: the ring lattice (each neuron of the smaller side linked to the nearest places of the larger
/// one, degrees equal up to rounding) of which each link is, with probability beta, taken out; as many are put anywhere
/// where there is none. beta = 1: erdosRenyi's law. Gives up with Code::aborted when `stop`, unless null, becomes true.
Status bipartiteSmallWorld(int32_t rows, int32_t cols, int64_t links, double beta, uint64_t seed, int32_t layer,
                           HostCsr* out, const std::atomic<bool>* stop = nullptr);

/// Bipartite scale-free network, by Barabasi and Albert's growth: neurons arrive, both sides at an even pace and each
/// in random order, and bring links / (rows + cols) links each, up to rounding, to distinct neurons of the other side
/// that are there already, drawn without replacement with probability proportional to their degree. What there is no
/// neuron for yet, those that come later bring, and links that none can bring lie anywhere. Degrees follow a power law:
/// of exponent 3 on both sides when they are of equal size, of 1 + (rows + cols) / rows among the columns and 1 +
/// (rows + cols) / cols among the rows otherwise. Gives up with Code::aborted when `stop`, unless null, becomes true.
Status bipartiteScaleFree(int32_t rows, int32_t cols, int64_t links, uint64_t seed, int32_t layer, HostCsr* out,
                          const std::atomic<bool>* stop = nullptr);

/// Correlated sparse topological initialisation (CHT, ICLR 2024): neuron n of either side stands for feature n mod
/// `features`, and the links are those between the most strongly correlated features, both ways and between all tiles.
/// `pairs` are these, the strongest first; of the last one that has a place, a random part is taken. Links beyond the
/// pairs lie anywhere. Both sides must be multiples of `features`.
Status correlatedSparse(int32_t rows, int32_t cols, int64_t links, int32_t features,
                        const std::vector<FeaturePair>& pairs, uint64_t seed, int32_t layer, HostCsr* out);
/// Pairs that so many links of such a layer take.
int64_t pairsOf(int32_t rows, int32_t cols, int64_t links, int32_t features);

}  // namespace hebb::networks
