// Losses: the mean over the columns of the whole batch, its gradient, and what a log wants to know. A column counts as
// often as its weight says: one of weight 2 as two columns, and one of weight 0, or whose target is ignored, not at
// all.
#pragma once

#include <cstdint>
#include <string>

#include "hebb/activations.h"
#include "hebb/operands.h"
#include "hebb/status.h"
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
  double lossScale = 1;                  // what the gradient is multiplied by: GradientNorm, Sgd and Adam divide by it

  static constexpr auto operands() {
    using namespace declare;
    return std::tuple{reads("weights", &LossColumns::weights, outside<LossColumns>).optional(),
                      reads("count", &LossColumns::count, exactly<LossColumns, 1>).optional(),
                      updates("totals", &LossColumns::totals, exactly<LossColumns, 1>),
                      reads("previous", &LossColumns::previous, exactly<LossColumns, 1>).optional(),
                      number("lossScale", &LossColumns::lossScale, 0x1p-126, 0x1p126).optional(),
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

/// Softmax cross-entropy with integer targets: the mean of -sum over classes of q log softmax(logits), where q is 1 -
/// labelSmoothing at the target and the rest in equal parts at all other classes but `paddingClass` (Szegedy et al.,
/// 2016). gradient = weight * (softmax(logits) - q) / count.
struct SoftmaxCrossEntropy {
  Activations logits;                // [classes][columns]
  const int32_t* targets = nullptr;  // [batch] device, each in [0, classes), or `ignore`
  int32_t ignore = kNothingIgnored;  // a target whose columns do not count
  double labelSmoothing = 0;         // in [0, 1); 0: q is 1 at the target
  int32_t paddingClass = -1;         // gets nothing of it, unless it is the target; -1: none
  Activations gradient;              // [classes][columns], or data null: evaluate only
  LossColumns columns;

  static constexpr auto operands() {
    using namespace declare;
    return std::tuple{reads("logits", &SoftmaxCrossEntropy::logits, exactly<SoftmaxCrossEntropy, 0>),
                      reads("targets", &SoftmaxCrossEntropy::targets, outside<SoftmaxCrossEntropy>),
                      integer("ignore", &SoftmaxCrossEntropy::ignore, -kLargestInt32).optional(),
                      number("labelSmoothing", &SoftmaxCrossEntropy::labelSmoothing).optional(),
                      integer("paddingClass", &SoftmaxCrossEntropy::paddingClass, 0).optional(),
                      writes("gradient", &SoftmaxCrossEntropy::gradient, featuresOf<&SoftmaxCrossEntropy::logits>)
                          .optional()
                          .inPlaceOf("logits"),
                      group(nullptr, &SoftmaxCrossEntropy::columns, outside<SoftmaxCrossEntropy>)};
  }

  static Status check(const SoftmaxCrossEntropy& op) {
    const auto bad = [](const std::string& expected, const std::string& got) {
      return Status{Code::invalidArgument, "Expected " + expected + ", got " + got};
    };
    const int32_t classes = op.logits.features;
    if (!(op.labelSmoothing >= 0 && op.labelSmoothing < 1))
      return bad("labelSmoothing to be at least 0 and below 1", std::to_string(op.labelSmoothing));
    if (op.paddingClass >= classes)
      return bad("paddingClass to be a class in [0, " + std::to_string(classes) + ")", std::to_string(op.paddingClass));
    const int32_t least = op.paddingClass >= 0 ? 3 : 2;
    if (op.labelSmoothing > 0 && classes < least)
      return bad("at least " + std::to_string(least) + " classes for labelSmoothing", std::to_string(classes));
    return {};
  }

  /// q of a class that is neither the target nor `paddingClass`.
  HEBB_INLINE double smoothed(int32_t target) const {
    const int32_t without = paddingClass >= 0 && target != paddingClass ? 2 : 1;
    return labelSmoothing > 0 ? labelSmoothing / (logits.features - without) : 0;
  }
  /// q of the target above what smoothed() would give it, if it gives it something: the target is lowered by it after
  /// all classes were.
  HEBB_INLINE double aboveSmoothed(int32_t target) const {
    return 1 - labelSmoothing - (target == paddingClass ? 0 : smoothed(target));
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
