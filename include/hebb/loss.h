// Losses: the mean over the valid columns, its gradient, and what a log wants to know.
#pragma once

#include <cstdint>

#include "hebb/activations.h"
#include "hebb/operands.h"

namespace hebb {

/// Running sums over the batches of an epoch, in device memory. A loss that is NaN or infinite where a gradient is
/// asked for ends the step with Code::nonFinite and leaves the sums; in evaluation, it is noted here.
struct LossTotals {
  double loss = 0;            // sum over columns of the loss
  double correct = 0;         // columns whose largest output is the target's class (classification only)
  double columns = 0;         // columns seen
  double nonFiniteStep = -1;  // first step whose loss was NaN or infinite, -1 when none was
};

/// Softmax cross-entropy with integer targets. gradient = (softmax(logits) - onehot) / columns.
struct SoftmaxCrossEntropy {
  Activations logits;                // [classes][columns]
  const int32_t* targets = nullptr;  // [columns] device, each in [0, classes)
  Activations gradient;              // [classes][columns], or data null: evaluate only
  LossTotals* totals = nullptr;      // device
  LossTotals* previous = nullptr;    // device, or null: what `totals` were before, for who takes the step back
  const int64_t* step = nullptr;     // [1] device

  static constexpr auto operands() {
    using namespace declare;
    return std::tuple{reads("logits", &SoftmaxCrossEntropy::logits, exactly<SoftmaxCrossEntropy, 0>),
                      reads("targets", &SoftmaxCrossEntropy::targets,
                            [](const SoftmaxCrossEntropy& op, int64_t) { return int64_t{op.logits.capacity}; }),
                      writes("gradient", &SoftmaxCrossEntropy::gradient, featuresOf<&SoftmaxCrossEntropy::logits>)
                          .optional()
                          .inPlaceOf("logits"),
                      updates("totals", &SoftmaxCrossEntropy::totals, exactly<SoftmaxCrossEntropy, 1>),
                      writes("previous", &SoftmaxCrossEntropy::previous, exactly<SoftmaxCrossEntropy, 1>).optional(),
                      given(&SoftmaxCrossEntropy::step)};
  }
};

/// Mean squared error over features and columns. gradient = 2 (output - target) / (features * columns).
struct MeanSquaredError {
  Activations output;              // [features][columns]
  Activations target;              // [features][columns]
  Activations gradient;            // [features][columns], or data null: evaluate only
  LossTotals* totals = nullptr;    // device
  LossTotals* previous = nullptr;  // device, or null: what `totals` were before, for who takes the step back
  const int64_t* step = nullptr;   // [1] device

  static constexpr auto operands() {
    using namespace declare;
    return std::tuple{reads("output", &MeanSquaredError::output, exactly<MeanSquaredError, 0>),
                      reads("target", &MeanSquaredError::target, featuresOf<&MeanSquaredError::output>),
                      writes("gradient", &MeanSquaredError::gradient, featuresOf<&MeanSquaredError::output>)
                          .optional()
                          .inPlaceOf("output", "target"),
                      updates("totals", &MeanSquaredError::totals, exactly<MeanSquaredError, 1>),
                      writes("previous", &MeanSquaredError::previous, exactly<MeanSquaredError, 1>).optional(),
                      given(&MeanSquaredError::step)};
  }
};

}  // namespace hebb
