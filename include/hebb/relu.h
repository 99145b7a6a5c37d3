// The rectifier as an operation of its own, for where it cannot ride on a product's epilogue.
#pragma once

#include "hebb/activations.h"

namespace hebb {

/// output = max(input, 0).
struct Relu {
  Activations input, output;  // [features][columns] each
};

/// inputGradient = outputGradient where output > 0, which is where the input is, else 0. Adds to inputGradient when
/// `accumulate`.
struct ReluGradient {
  Activations output;          // [features][columns], as Relu wrote it
  Activations outputGradient;  // [features][columns]
  Activations inputGradient;   // [features][columns]
  bool accumulate = false;
};

}  // namespace hebb
