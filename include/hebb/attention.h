// Attention of several heads (Vaswani et al., 2017) within sequences that lie one behind another along an axis of
// columns. The scores of queries and keys exist tile by tile alone (Dao et al., 2022): memory is linear in columns.
#pragma once

#include <string>

#include "hebb/activations.h"
#include "hebb/operands.h"
#include "hebb/philox.h"
#include "hebb/status.h"

namespace hebb {

HEBB_PURPOSE(kAttentionDraws, 20);

/// Sequence s has the queries [queryOffsets[s], queryOffsets[s + 1]) and the keys [keyOffsets[s], keyOffsets[s + 1]).
/// Both ascend from 0 to the columns of their axis; offsets that do not end the step.
struct Sequences {
  const int32_t* queryOffsets = nullptr;  // [count + 1] device
  const int32_t* keyOffsets = nullptr;    // [count + 1] device
  int32_t count = 0;                      // that fit; those behind the last one of a batch are empty
  int32_t heads = 1;
  bool causal = false;     // a query sees no keys behind it, of two sequences that end together
  double scale = 0;        // of the scores; 0: 1 / sqrt(features of a head)
  double probability = 0;  // of losing a weight (dropout), in [0, 1); 16 bits decide, see Chance
  uint64_t seed = 0;
  int32_t layer = 0;
  const int64_t* step = nullptr;  // [1] device

  static constexpr auto operands() {
    using namespace declare;
    using Op = Sequences;
    constexpr auto ends = [](const Op& op, int64_t) { return int64_t{op.count} + 1; };
    return std::tuple{integer("sequences", &Op::count, 1, (1 << 24) - 1),
                      reads("queryOffsets", &Op::queryOffsets, ends),
                      reads("keyOffsets", &Op::keyOffsets, ends),
                      integer("heads", &Op::heads, 1, 4095),
                      flag("causal", &Op::causal),
                      number("scale", &Op::scale, 0, 1e30).optional(),
                      number("probability", &Op::probability, 0, 0.999999).optional(),
                      number("seed", &Op::seed, 0, kLargestInteger).optional(),
                      integer("layer", &Op::layer, 0, (1 << 24) - 1).optional(),
                      given(&Op::step)};
  }

  /// Of losing a weight. A draw has the bits of eight neighbouring keys, by (head, key / 8, query, step, layer), keys
  /// and queries counted over the whole batch.
  HEBB_INLINE Chance loss() const { return Chance::of(probability); }
  static HEBB_INLINE uint32_t drawOf(int32_t head, int32_t key) {
    return static_cast<uint32_t>(head) << 20 | static_cast<uint32_t>(key / 8);
  }
};

/// What Attention and its gradient check: heads share out the features, and several query heads may share a key head.
template <class Op>
Status checkHeads(const Op& op) {
  const int32_t heads = op.sequences.heads, features = op.query.features;
  if (features % heads != 0) {
    return {Code::invalidArgument, "Expected heads that share out the " + std::to_string(features) +
                                       " features of query evenly, got " + std::to_string(heads)};
  }
  const int32_t own = features / heads;
  if (op.key.features % own != 0 || heads % (op.key.features / own) != 0) {
    return {Code::invalidArgument, "Expected key to have the features of 1 to " + std::to_string(heads) +
                                       " heads, a divisor of that number, of " + std::to_string(own) +
                                       " features each, got " + std::to_string(op.key.features) + " features"};
  }
  if (own > 256) {
    return {Code::unsupported,
            "Expected heads of at most 256 features, got " + std::to_string(own) + ". Use more heads."};
  }
  if (op.key.capacity > 1 << 22) {
    return {Code::unsupported, "Expected at most 4194304 columns of keys, got " + std::to_string(op.key.capacity)};
  }
  return {};
}

/// With a head's rows of query, key and value as Q, K and V, for each sequence: P = softmax over the keys of scale
/// K^T Q, and output = V P, where a weight of P is lost, or divided by 1 - probability. A query that sees no key has
/// output 0. Query head h has the key head h * key heads / heads.
struct Attention {
  Activations query;       // [heads * n][queries]
  Activations key, value;  // [key heads * n][keys] each
  Activations output;      // [heads * n][queries]
  Activations statistics;  // [2 * heads][queries]: of each head, the largest score and 1 / the sum of its powers of e
  Sequences sequences;

  static constexpr auto operands() {
    using namespace declare;
    using Op = Attention;
    return std::tuple{
        reads("query", &Op::query, exactly<Op, 0>),
        reads("key", &Op::key, exactly<Op, 0>).alongOther(),
        reads("value", &Op::value, featuresOf<&Op::key>).alongOther(),
        group(nullptr, &Op::sequences, outside<Op>),
        writes("output", &Op::output, featuresOf<&Op::query>),
        writes("statistics", &Op::statistics, [](const Op& op, int64_t) { return int64_t{2} * op.sequences.heads; })};
  }
  static Status check(const Attention& op) { return checkHeads(op); }
};

/// The gradients of query, key and value, with the draws of Attention. Each adds where its flag says so.
struct AttentionGradient {
  Activations query;           // [heads * n][queries]
  Activations key, value;      // [key heads * n][keys] each
  Activations output;          // [heads * n][queries]: as Attention wrote it,
  Activations statistics;      // [2 * heads][queries]: and this
  Activations outputGradient;  // [heads * n][queries]
  Activations products;        // [heads][queries]: sums of output times outputGradient, for the operation itself
  Activations queryGradient;   // [heads * n][queries]
  Activations keyGradient;     // [key heads * n][keys]
  Activations valueGradient;   // [key heads * n][keys]
  bool accumulateQuery = false, accumulateKey = false, accumulateValue = false;
  Sequences sequences;

  static constexpr auto operands() {
    using namespace declare;
    using Op = AttentionGradient;
    return std::tuple{
        reads("query", &Op::query, exactly<Op, 0>),
        reads("key", &Op::key, exactly<Op, 0>).alongOther(),
        reads("value", &Op::value, featuresOf<&Op::key>).alongOther(),
        group(nullptr, &Op::sequences, outside<Op>),
        reads("output", &Op::output, featuresOf<&Op::query>),
        reads("statistics", &Op::statistics, [](const Op& op, int64_t) { return int64_t{2} * op.sequences.heads; }),
        reads("outputGradient", &Op::outputGradient, featuresOf<&Op::query>),
        writes("products", &Op::products, [](const Op& op, int64_t) { return int64_t{op.sequences.heads}; }),
        flag("accumulateQuery", &Op::accumulateQuery),
        flag("accumulateKey", &Op::accumulateKey),
        flag("accumulateValue", &Op::accumulateValue),
        updates("queryGradient", &Op::queryGradient, featuresOf<&Op::query>).addsIf(&Op::accumulateQuery),
        updates("keyGradient", &Op::keyGradient, featuresOf<&Op::key>).addsIf(&Op::accumulateKey).alongOther(),
        updates("valueGradient", &Op::valueGradient, featuresOf<&Op::key>).addsIf(&Op::accumulateValue).alongOther()};
  }
  static Status check(const AttentionGradient& op) { return checkHeads(op); }
};

}  // namespace hebb
