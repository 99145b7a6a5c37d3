// The rectifier as an operation of its own, for where it cannot ride on a product's epilogue.
#pragma once

#include "hebb/activations.h"

namespace hebb {

/// output = max(input, 0).
struct Relu {
  Activations input, output;  // [features][columns] each
};

/// inputGradient = outputGradient where input > 0, else 0, times the derivative of `activation` at `input`'s own epilogue
/// (a rectified input: none is needed, the derivative is the same). Adds to inputGradient when `accumulate`.
struct ReluGradient {
  Activations output;          // [features][columns], as Relu wrote it
  Activations outputGradient;  // [features][columns]
  Activations inputGradient;   // [features][columns]
  bool accumulate = false;
};

}  // namespace hebb
