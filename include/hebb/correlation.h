// Pearson correlation of features over samples: which pairs of features are the most strongly correlated. A host
// function: the matrix of correlations never exists, only a tile of it and the best pairs so far.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <vector>

#include "hebb/status.h"

namespace hebb::networks {

/// x [samples][features], of bytes or floats. Correlations do not depend on the features' scales and shifts.
struct FeatureSamples {
  const void* x = nullptr;
  bool bytes = false;
  int64_t samples = 0;
  int32_t features = 0;
};

struct FeaturePair {
  int32_t first, second;  // first < second
  double correlation;
};

/// The `count` pairs of the largest |correlation|, the largest first, ties by first and second; fewer where fewer
/// correlations differ from 0. A feature without variance has none. Of bytes, sums are exact, and the correlation is
/// rounded a few times in double precision; of floats, standardised values are multiplied in single precision and
/// summed in double, with an error of about 1e-6. The same bits with any number of threads. Gives up with Code::aborted
/// when `stop`, unless null, becomes true.
Status strongestPairs(const FeatureSamples& data, int64_t count, std::vector<FeaturePair>* out,
                      const std::atomic<bool>* stop = nullptr);

/// The strongest pairs of one data set, found once for all the layers that ask. Safe to call from several threads.
class FeatureCorrelations {
 public:
  /// A copy of the samples for calls that come later, shared by all that are pending.
  std::shared_ptr<const std::vector<uint8_t>> hold(const FeatureSamples& data);
  /// At least the `count` strongest pairs, or all there are.
  Status strongest(const FeatureSamples& data, int64_t count, std::shared_ptr<const std::vector<FeaturePair>>* out,
                   const std::atomic<bool>* stop = nullptr);

 private:
  std::mutex mutex_;
  std::weak_ptr<const std::vector<uint8_t>> held_;
  std::shared_ptr<const std::vector<FeaturePair>> pairs_;
  int64_t asked_ = -1;
};

}  // namespace hebb::networks
