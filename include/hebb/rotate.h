// Rotary positions (Su et al., 2021): features are turned in pairs, by angles that grow with a token's place, so that
// products of queries and keys depend on how far apart their tokens are.
#pragma once

#include <string>

#include "hebb/activations.h"
#include "hebb/operands.h"
#include "hebb/status.h"

namespace hebb {

/// Of each head, the features i and i + h are turned by an angle, h being half the features of a head: output[i] =
/// input[i] cosine[i] - input[i + h] sine[i], output[i + h] = input[i + h] cosine[i] + input[i] sine[i]. With `back`,
/// by minus the angle, as gradients are. Adds to output when `accumulate`.
struct Rotate {
  Activations input, output;  // [features][columns] each
  Activations angles;         // [2 h][columns]: the cosines, and behind them the sines
  int32_t heads = 0;          // features / (2 h)
  bool back = false, accumulate = false;

  static constexpr auto operands() {
    using namespace declare;
    using Op = Rotate;
    return std::tuple{
        reads("input", &Op::input, exactly<Op, 0>),
        flag("accumulate", &Op::accumulate),
        updates("output", &Op::output, featuresOf<&Op::input>).addsIf(&Op::accumulate).inPlaceOf("input"),
        integer("heads", &Op::heads, 1),
        reads("angles", &Op::angles, [](const Op& op, int64_t) { return int64_t{op.input.features / op.heads}; }),
        flag("back", &Op::back)};
  }

  static Status check(const Rotate& op) {
    if (op.input.features % (2 * int64_t{op.heads}) == 0) return {};
    return {Code::invalidArgument, "Expected heads that share out the " + std::to_string(op.input.features) +
                                       " features in pairs, got " + std::to_string(op.heads)};
  }
};

}  // namespace hebb
