// Sparse matrix times dense activations, forward and backward. The heart of a sparse layer.
#pragma once

#include "hebb/activations.h"
#include "hebb/csr.h"

namespace hebb {

/// output = activation(W input + bias).
struct Spmm {
  Csr weights;                    // [M][N]
  const float* values = nullptr;  // [links] device, CSC order
  const float* bias = nullptr;    // [M] device, or null
  Activations input;              // [N][columns]
  Activations output;             // [M][columns]
  Activation activation = Activation::none;
};

/// inputGradient = W^T outputGradient, times the derivative of `activation` at `input` (the layer's input as it was
/// computed: the result is then the gradient before the previous layer's activation). Adds to inputGradient when
/// `accumulate`.
struct SpmmTransposed {
  Csr weights;                    // [M][N]
  const float* values = nullptr;  // [links] device, CSC order
  Activations outputGradient;     // [M][columns]
  Activations inputGradient;      // [N][columns]
  Activations input;              // [N][columns]; read only when activation is not none
  Activation activation = Activation::none;
  bool accumulate = false;
};

}  // namespace hebb
