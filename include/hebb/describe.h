// What a topology looks like to network science: degrees, clustering, path lengths, and what percolation leaves of it.
// Host functions over links in host memory, O(links + neurons) of it for each thread. Where an exact answer would take
// long, it is estimated from seeded samples, and its standard error told.
#pragma once

#include <atomic>
#include <cstdint>
#include <vector>

#include "hebb/host_csr.h"
#include "hebb/status.h"

namespace hebb::networks {

struct DescribeOptions {
  /// Steps (links passed) up to which a measure is exact.
  int64_t exactUpTo = int64_t{1} << 28;
  uint64_t seed = 0;
};

struct Estimate {
  double value = 0;
  double error = 0;  // standard error; 0: exact
};

/// How many neurons of a side have which number of links.
struct DegreeCounts {
  std::vector<int32_t> degrees, neurons;  // ascending degrees that occur, 0 included
};

struct LayerDescription {
  DegreeCounts inputs, outputs;
  /// Bipartite clustering of Robins and Alexander (2004): 4 times the number of cycles of four links over the number of
  /// paths of three links, which is the probability that the ends of such a path are linked. NaN without such paths.
  Estimate clustering;
  /// Mean number of links on the shortest path between two neurons of either side, over all pairs of active ones that
  /// are connected. NaN without any.
  Estimate pathLength;
  /// Share of the pairs of active neurons that are connected (of ordered pairs from the same sources). NaN without any.
  double connected = 0;
  /// What is left when neurons without links on one side go, and their links with them, until nothing changes.
  int64_t percolatedLinks = 0;
  int32_t percolatedInputs = 0, percolatedOutputs = 0;
};

struct DescribedLayer {
  int32_t rows = 0, cols = 0;
  HostCsr links;
  bool follows = false;  // its inputs are the outputs of the layer before
};

/// Describes each layer, and percolates over those that follow each other. The same for the same seed with any number
/// of threads. Gives up with Code::aborted when `stop`, unless null, becomes true.
Status describeTopology(const std::vector<DescribedLayer>& layers, const DescribeOptions& options,
                        std::vector<LayerDescription>* out, const std::atomic<bool>* stop = nullptr);

}  // namespace hebb::networks
