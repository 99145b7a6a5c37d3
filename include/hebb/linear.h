// A fully connected layer: a network's last one often, and what sparse layers are compared with.
#pragma once

#include "hebb/activations.h"
#include "hebb/optimizer.h"

namespace hebb {

/// How a GPU multiplies dense matrices; the CPU has one way.
enum class DenseProduct : int32_t {
  automatic = 0,    // by the layer's rows and columns
  fma = 1,          // in fp32
  tensorCores = 2,  // in tf32, each number split into two: as precise as fp32, other bits
};

/// output = activation(W input + bias).
struct Linear {
  const float* weights = nullptr;  // [M][N] device, row-major
  const float* bias = nullptr;     // [M] device, or null
  Activations input;               // [N][columns]
  Activations output;              // [M][columns]
  Activation activation = Activation::none;
  DenseProduct product = DenseProduct::automatic;
};

/// inputGradient = W^T outputGradient times the derivative of `activation` at `input`; see SpmmTransposed.
struct LinearTransposed {
  const float* weights = nullptr;  // [M][N] device, row-major
  Activations outputGradient;      // [M][columns]
  Activations inputGradient;       // [N][columns]
  Activations input;               // [N][columns]; read only when activation is not none
  Activation activation = Activation::none;
  bool accumulate = false;
  DenseProduct product = DenseProduct::automatic;
};

/// gradient = outputGradient input^T; biasGradient = row sums of outputGradient. With `fusedValues` / `fusedBias` set
/// (by the engine, when nothing else reads the gradient) the optimizer's step is taken at once, and what the gradient's
/// memory holds afterwards is unspecified.
struct LinearGradient {
  Activations outputGradient;     // [M][columns]
  Activations input;              // [N][columns]
  float* gradient = nullptr;      // [M][N] device
  float* biasGradient = nullptr;  // [M] device, or null
  bool accumulate = false;
  bool accumulateBias = false;
  DenseProduct product = DenseProduct::automatic;
  SgdRule fusedValues{};
  SgdRule fusedBias{};
};

}  // namespace hebb
