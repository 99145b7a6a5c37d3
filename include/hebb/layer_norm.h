// Layer normalisation (Ba et al., 2016): each column by itself, over its features; or by their root mean square alone
// (RMSNorm: Zhang and Sennrich, 2019).
#pragma once

#include "hebb/activations.h"
#include "hebb/operands.h"

namespace hebb {

/// output = (input - mean) * scale * gain + bias, with scale = 1 / sqrt(variance + epsilon); mean and variance (over n,
/// not n - 1) are those of the column. With `rms`, the mean is taken to be 0.
struct LayerNorm {
  Activations input, output;    // [features][columns] each
  const float* gain = nullptr;  // [features] device
  const float* bias = nullptr;  // [features] device, or null
  Activations statistics;       // [2][columns]: mean and scale, for the gradient
  double epsilon = 1e-5;        // above 0
  bool rms = false;

  static constexpr auto operands() {
    using namespace declare;
    return std::tuple{reads("input", &LayerNorm::input, exactly<LayerNorm, 0>),
                      writes("output", &LayerNorm::output, featuresOf<&LayerNorm::input>).inPlaceOf("input"),
                      reads("gain", &LayerNorm::gain, featuresOf<&LayerNorm::input>),
                      reads("bias", &LayerNorm::bias, featuresOf<&LayerNorm::input>).optional(),
                      writes("statistics", &LayerNorm::statistics, exactly<LayerNorm, 2>),
                      number("epsilon", &LayerNorm::epsilon, 1e-30, 1).optional(),
                      flag("rms", &LayerNorm::rms)};
  }
};

/// With x' = (input - mean) * scale and g = outputGradient * gain: inputGradient = scale (g - mean(g) - x' mean(g x')),
/// means over the features; gainGradient = sums of outputGradient x' over the columns, biasGradient = sums of
/// outputGradient. Each adds where its flag says so. With `rms`, there is no mean(g).
struct LayerNormGradient {
  Activations input;              // [features][columns]
  Activations statistics;         // [2][columns], as LayerNorm wrote them
  const float* gain = nullptr;    // [features] device
  Activations outputGradient;     // [features][columns]
  Activations inputGradient;      // [features][columns], or data null
  float* gainGradient = nullptr;  // [features] device, or null
  float* biasGradient = nullptr;  // [features] device, or null
  bool accumulate = false, accumulateGain = false, accumulateBias = false, rms = false;

  static constexpr auto operands() {
    using namespace declare;
    using Op = LayerNormGradient;
    return std::tuple{reads("input", &Op::input, exactly<Op, 0>),
                      reads("statistics", &Op::statistics, exactly<Op, 2>),
                      reads("gain", &Op::gain, featuresOf<&Op::input>),
                      reads("outputGradient", &Op::outputGradient, featuresOf<&Op::input>),
                      flag("accumulate", &Op::accumulate),
                      updates("inputGradient", &Op::inputGradient, featuresOf<&Op::input>)
                          .addsIf(&Op::accumulate)
                          .inPlaceOf("outputGradient", "input")
                          .optional(),
                      updates("gainGradient", &Op::gainGradient, featuresOf<&Op::input>).optional(),
                      updates("biasGradient", &Op::biasGradient, featuresOf<&Op::input>).optional(),
                      flag("accumulateGain", &Op::accumulateGain),
                      flag("accumulateBias", &Op::accumulateBias),
                      flag("rms", &Op::rms)};
  }
};

}  // namespace hebb
