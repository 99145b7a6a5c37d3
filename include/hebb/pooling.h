// Pooling of sequences that lie one behind another along an axis of columns: one column of each.
#pragma once

#include <cstdint>

#include "hebb/activations.h"
#include "hebb/operands.h"

namespace hebb {

enum class PoolingKind : int32_t {
  /// The mean of the columns, summed up in double precision.
  mean = 0,
  /// The largest number of each feature; NaN where one is NaN. Its gradient goes to the first column that has it.
  max = 1,
  /// The first column, such as that of a token that stands for the whole.
  first = 2,
};

constexpr auto namesOf(PoolingKind) {
  return std::array{Named<PoolingKind>{"mean", PoolingKind::mean}, Named<PoolingKind>{"max", PoolingKind::max},
                    Named<PoolingKind>{"first", PoolingKind::first}};
}

/// output[f][s] = what `kind` says of input[f][offsets[s] .. offsets[s + 1]), or 0 where sequence s is empty. Offsets
/// ascend from 0 to the columns of input; those that do not end the step.
struct Pooling {
  Activations input;                 // [features][columns of another axis]
  const int32_t* offsets = nullptr;  // [sequences + 1] device
  PoolingKind kind = PoolingKind::mean;
  Activations output;  // [features][sequences]

  static constexpr auto operands() {
    using namespace declare;
    using Op = Pooling;
    return std::tuple{writes("output", &Op::output, exactly<Op, 0>),
                      reads("offsets", &Op::offsets, [](const Op&, int64_t sequences) { return sequences + 1; }),
                      choice("kind", &Op::kind), reads("input", &Op::input, featuresOf<&Op::output>).alongOther()};
  }
};

/// The gradient of input. Adds to it when `accumulate`.
struct PoolingGradient {
  Activations outputGradient;        // [features][sequences]
  const int32_t* offsets = nullptr;  // [sequences + 1] device
  PoolingKind kind = PoolingKind::mean;
  Activations input, output;  // of max alone: [features][columns of another axis], and as Pooling wrote it
  bool accumulate = false;
  Activations inputGradient;  // [features][columns of input's axis]

  static constexpr auto operands() {
    using namespace declare;
    using Op = PoolingGradient;
    constexpr Condition<Op> isMax = [](const Op& op) { return op.kind == PoolingKind::max; };
    return std::tuple{reads("outputGradient", &Op::outputGradient, exactly<Op, 0>),
                      reads("offsets", &Op::offsets, [](const Op&, int64_t sequences) { return sequences + 1; }),
                      choice("kind", &Op::kind),
                      reads("input", &Op::input, featuresOf<&Op::outputGradient>).when(isMax).alongOther(),
                      reads("output", &Op::output, featuresOf<&Op::outputGradient>).when(isMax),
                      flag("accumulate", &Op::accumulate),
                      updates("inputGradient", &Op::inputGradient, featuresOf<&Op::outputGradient>)
                          .addsIf(&Op::accumulate)
                          .alongOther()};
  }
};

}  // namespace hebb
