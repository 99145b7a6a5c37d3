// A fully connected layer. Small by intent: hebb is for sparse layers, and a network's last one is often dense.
#pragma once

#include "hebb/activations.h"

namespace hebb {

/// output = activation(W input + bias).
struct Linear {
  const float* weights = nullptr; // [M][N] device, row-major
  const float* bias = nullptr;    // [M] device, or null
  Activations input;              // [N][columns]
  Activations output;             // [M][columns]
  Activation activation = Activation::none;
};

/// inputGradient = W^T outputGradient times the derivative of `activation` at `input`; see SpmmTransposed.
struct LinearTransposed {
  const float* weights = nullptr; // [M][N] device, row-major
  Activations outputGradient;     // [M][columns]
  Activations inputGradient;      // [N][columns]
  Activations input;              // [N][columns]; read only when activation is not none
  Activation activation = Activation::none;
  bool accumulate = false;
};

/// gradient = outputGradient input^T; biasGradient = row sums of outputGradient.
struct LinearGradient {
  Activations outputGradient;    // [M][columns]
  Activations input;             // [N][columns]
  float* gradient = nullptr;     // [M][N] device
  float* biasGradient = nullptr; // [M] device, or null
  bool accumulate = false;
  bool accumulateBias = false;
};

}  // namespace hebb
