// Picks the sequences of a batch out of a text that lies on the device: token after token, sequence behind sequence,
// without padding.
#pragma once

#include <cstdint>

#include "hebb/activations.h"
#include "hebb/operands.h"
#include "hebb/step.h"

namespace hebb {

/// Sets the batch's sequences one behind another along an axis of tokens, and says how many columns it has. The batch
/// of a step is plan[batches[row] .. batches[row + 1]), row the step's in its segment (the last one for later steps);
/// of sequence s it takes tokens[starts[s] + skip .. starts[s + 1] - drop). A batch that does not fit ends the step.
struct GatherSequences {
  const int32_t* tokens = nullptr;  // [total] device
  int64_t total = 0;
  const int32_t* starts = nullptr;  // [sequences + 1] device, ascending, each in [0, total]
  int64_t sequences = 0;
  const int32_t* plan = nullptr;  // [planned] device, each a sequence, in [0, sequences)
  int64_t planned = 0;
  const int32_t* batches = nullptr;  // [steps + 1] device, ascending, each in [0, planned]
  int64_t steps = 0;
  int32_t skip = 0, drop = 0;        // tokens left out where each sequence begins, and where it ends
  int32_t columns = 0;               // that fit
  int32_t most = 0;                  // sequences that fit
  Axis* axis = nullptr;              // [1] device
  int32_t* output = nullptr;         // [columns] device: the tokens
  int32_t* positions = nullptr;      // [columns] device, or null: the place of each in its sequence, from 0
  int32_t* offsets = nullptr;        // [most + 1] device, or null: the column where each sequence begins; behind the
                                     // last, where it ends
  const StepState* state = nullptr;  // device

  static constexpr auto operands() {
    using namespace declare;
    using Op = GatherSequences;
    return std::tuple{
        integer("total", &Op::total, 1),
        reads("tokens", &Op::tokens, numberOf<&Op::total>),
        integer("sequences", &Op::sequences, 1),
        reads("starts", &Op::starts, [](const Op& op, int64_t) { return op.sequences + 1; }),
        integer("planned", &Op::planned, 1),
        reads("plan", &Op::plan, numberOf<&Op::planned>),
        integer("steps", &Op::steps, 1),
        reads("batches", &Op::batches, [](const Op& op, int64_t) { return op.steps + 1; }),
        integer("skip", &Op::skip, 0).optional(),
        integer("drop", &Op::drop, 0).optional(),
        integer("most", &Op::most, 1),
        writesAxis("axis", &Op::axis, &Op::columns),
        writes("output", &Op::output, [](const Op& op, int64_t) { return int64_t{op.columns}; }).transient(),
        writes("positions", &Op::positions, [](const Op& op, int64_t) { return int64_t{op.columns}; })
            .transient()
            .optional(),
        writes("offsets", &Op::offsets, [](const Op& op, int64_t) { return int64_t{op.most} + 1; })
            .transient()
            .optional(),
        given(&Op::state)};
  }

  /// The step's row of `batches`.
  HEBB_INLINE int64_t row() const {
    const int64_t row = state->step - state->firstStep;
    return row < 0 ? 0 : row < steps ? row : steps - 1;
  }
};

}  // namespace hebb
