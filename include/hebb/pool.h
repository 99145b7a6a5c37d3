// Pruned links that may return with the weights they had: the historical weights of gradual magnitude pruning (GMP; Zhu
// and Gupta 2017). An update is openPool, the choice by importance and keepLinks on the pool's links, chooseFromPool,
// rebuild, restoreWeights.
#pragma once

#include <cstdint>
#include <string>

#include "hebb/csr.h"
#include "hebb/operands.h"
#include "hebb/regrow.h"
#include "hebb/status.h"

namespace hebb {

/// Links that a layer may have, with the weight that each had last. They never change.
struct Pool {
  Csr links;
  float* values = nullptr;  // [links] device, CSC order
  uint8_t* keep = nullptr;  // [links] device, 0 or 1: the choice that is being made, CSC order

  static constexpr auto operands() {
    using namespace declare;
    return std::tuple{sparse("links", &Pool::links), updates("values", &Pool::values, perLink<&Pool::links>),
                      updates("keep", &Pool::keep, perLink<&Pool::links>)};
  }

  /// Why the pool is none of the layer's, or ok.
  Status of(const Csr& layer) const {
    if (links.rows == layer.rows && links.cols == layer.cols) return {};
    const auto shape = [](const Csr& csr) { return std::to_string(csr.rows) + " x " + std::to_string(csr.cols); };
    return {Code::invalidArgument, "Expected the pool's links to be of " + shape(layer) + ", got " + shape(links)};
  }
};

/// Opens a choice: the pool's links that the layer has are given its weights, and all are kept.
struct OpenPool {
  Csr links;
  const float* values = nullptr;  // [capacity] device
  Pool pool;

  static constexpr auto operands() {
    using namespace declare;
    return std::tuple{sparse("links", &OpenPool::links), reads("values", &OpenPool::values, perLink<&OpenPool::links>),
                      group("pool", &OpenPool::pool, exactly<OpenPool, 0>)};
  }

  static Status check(const OpenPool& op) { return op.pool.of(op.links); }
};

/// Makes the choice the layer's update: its links that the pool does not keep, or does not have, are removed; those
/// that are kept and missing are its new links. The caller provides capacity for as many links as are kept, else the
/// operation fails and changes nothing.
struct ChooseFromPool {
  Csr links;
  LinkChanges changes;
  Pool pool;

  static constexpr auto operands() {
    using namespace declare;
    return std::tuple{sparse("links", &ChooseFromPool::links),
                      group("changes", &ChooseFromPool::changes, perLink<&ChooseFromPool::links>),
                      group("pool", &ChooseFromPool::pool, exactly<ChooseFromPool, 0>)};
  }

  static Status check(const ChooseFromPool& op) { return op.pool.of(op.links); }
};

/// Gives the layer's links the weights that they have in the pool; a link that the pool does not have keeps its own.
struct RestoreWeights {
  Csr links;
  float* values = nullptr;  // [capacity] device
  Pool pool;

  static constexpr auto operands() {
    using namespace declare;
    return std::tuple{sparse("links", &RestoreWeights::links),
                      updates("values", &RestoreWeights::values, perLink<&RestoreWeights::links>),
                      group("pool", &RestoreWeights::pool, exactly<RestoreWeights, 0>)};
  }

  static Status check(const RestoreWeights& op) { return op.pool.of(op.links); }
};

}  // namespace hebb
