// Losses: the mean over the columns of the whole batch, its gradient, and what a log wants to know. A column counts as
// often as its weight says: one of weight 2 as two columns, and one of weight 0, or whose target is ignored, not at
// all.
#pragma once

#include <cstdint>

#include "hebb/activations.h"
#include "hebb/operands.h"
#include "hebb/step.h"

namespace hebb {

/// Running sums over the batches of an epoch, in device memory. A loss that is NaN or infinite where a gradient is
/// asked for ends the step with Code::nonFinite and leaves the sums, those of before the step where they are given; in
/// evaluation, it is noted here.
struct LossTotals {
  double loss = 0;            // sum over columns of weight * loss
  double correct = 0;         // weights of columns whose largest output is the target's class (classification only)
  double weight = 0;          // of the columns seen; without weights, their number
  double nonFiniteStep = -1;  // first step whose loss was NaN or infinite, -1 when none was
};

/// What all losses have. Arrays of columns are the whole batch's: an operation over a micro-batch reads its part.
struct LossColumns {
  const float* weights = nullptr;        // [batch] device, or null: each column counts once
  const double* count = nullptr;         // [1] device: what the mean divides by, or null: the whole batch's columns
  LossTotals* totals = nullptr;          // device
  const LossTotals* previous = nullptr;  // device, or null: what `totals` were when the step began
  const int64_t* step = nullptr;         // [1] device

  static constexpr auto operands() {
    using namespace declare;
    return std::tuple{reads("weights", &LossColumns::weights, outside<LossColumns>).optional(),
                      reads("count", &LossColumns::count, exactly<LossColumns, 1>).optional(),
                      updates("totals", &LossColumns::totals, exactly<LossColumns, 1>),
                      reads("previous", &LossColumns::previous, exactly<LossColumns, 1>).optional(),
                      given(&LossColumns::step)};
  }
};

/// previous = totals, where a step begins: a loss that ends it in a later micro-batch goes back there, and so do
/// gradientNorm and the host.
struct NoteTotals {
  const LossTotals* totals = nullptr;  // device
  LossTotals* previous = nullptr;      // device

  static constexpr auto operands() {
    using namespace declare;
    return std::tuple{reads("totals", &NoteTotals::totals, exactly<NoteTotals, 1>),
                      writes("previous", &NoteTotals::previous, exactly<NoteTotals, 1>).transient()};
  }
};

constexpr int32_t kNothingIgnored = INT32_MIN;

/// Softmax cross-entropy with integer targets. gradient = weight * (softmax(logits) - onehot) / count.
struct SoftmaxCrossEntropy {
  Activations logits;                // [classes][columns]
  const int32_t* targets = nullptr;  // [batch] device, each in [0, classes), or `ignore`
  int32_t ignore = kNothingIgnored;  // a target whose columns do not count
  Activations gradient;              // [classes][columns], or data null: evaluate only
  LossColumns columns;

  static constexpr auto operands() {
    using namespace declare;
    return std::tuple{reads("logits", &SoftmaxCrossEntropy::logits, exactly<SoftmaxCrossEntropy, 0>),
                      reads("targets", &SoftmaxCrossEntropy::targets, outside<SoftmaxCrossEntropy>),
                      integer("ignore", &SoftmaxCrossEntropy::ignore, -kLargestInt32).optional(),
                      writes("gradient", &SoftmaxCrossEntropy::gradient, featuresOf<&SoftmaxCrossEntropy::logits>)
                          .optional()
                          .inPlaceOf("logits"),
                      group(nullptr, &SoftmaxCrossEntropy::columns, outside<SoftmaxCrossEntropy>)};
  }
};

/// Mean squared error over features and columns. gradient = weight * 2 (output - target) / (features * count).
struct MeanSquaredError {
  Activations output;    // [features][columns]
  Activations target;    // [features][columns]
  Activations gradient;  // [features][columns], or data null: evaluate only
  LossColumns columns;

  static constexpr auto operands() {
    using namespace declare;
    return std::tuple{reads("output", &MeanSquaredError::output, exactly<MeanSquaredError, 0>),
                      reads("target", &MeanSquaredError::target, featuresOf<&MeanSquaredError::output>),
                      writes("gradient", &MeanSquaredError::gradient, featuresOf<&MeanSquaredError::output>)
                          .optional()
                          .inPlaceOf("output", "target"),
                      group(nullptr, &MeanSquaredError::columns, outside<MeanSquaredError>)};
  }
};

/// sum = the weights of the whole batch's columns that count, for losses to divide by, or of all columns of another
/// axis. In the order of the columns on a CPU; a GPU's order of summation depends on their number alone.
struct SumWeights {
  const float* weights = nullptr;    // [batch] device, or null: each column counts once
  const int32_t* targets = nullptr;  // [batch] device, or null
  int32_t ignore = kNothingIgnored;  // a target whose columns do not count
  const Axis* axis = nullptr;        // [1] device, or null: the batch
  int32_t columns = 0;               // of that axis, that fit
  double* sum = nullptr;             // [1] device
  const StepState* state = nullptr;  // device

  static constexpr auto operands() {
    using namespace declare;
    constexpr Extent<SumWeights> all = [](const SumWeights& op, int64_t outer) {
      return op.columns > 0 ? int64_t{op.columns} : outer;
    };
    return std::tuple{readsAxis("axis", &SumWeights::axis, &SumWeights::columns).optional(),
                      reads("weights", &SumWeights::weights, all).optional(),
                      reads("targets", &SumWeights::targets, all).optional(),
                      integer("ignore", &SumWeights::ignore, -kLargestInt32).optional(),
                      Together{"targets", "ignore"},
                      writes("sum", &SumWeights::sum, exactly<SumWeights, 1>).transient(),
                      given(&SumWeights::state)};
  }

  HEBB_INLINE int32_t count() const { return axis ? axis->columns : state->axis.columns; }
  HEBB_INLINE float weightOf(int32_t column) const {
    if (targets && targets[column] == ignore) return 0.f;
    return weights ? weights[column] : 1.f;
  }
};

}  // namespace hebb
