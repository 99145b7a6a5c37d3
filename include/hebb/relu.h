// The rectifier as an operation of its own, for where it cannot ride on a product's epilogue.
#pragma once

#include "hebb/activations.h"
#include "hebb/operands.h"

namespace hebb {

/// output = max(input, 0).
struct Relu {
  Activations input, output;  // [features][columns] each

  static constexpr auto operands() {
    using namespace declare;
    return std::tuple{reads("input", &Relu::input, exactly<Relu, 0>),
                      writes("output", &Relu::output, featuresOf<&Relu::input>).inPlaceOf("input")};
  }
};

/// inputGradient = outputGradient where output > 0, which is where the input is, else 0. Adds to inputGradient when
/// `accumulate`.
struct ReluGradient {
  Activations output;          // [features][columns], as Relu wrote it
  Activations outputGradient;  // [features][columns]
  Activations inputGradient;   // [features][columns]
  bool accumulate = false;

  static constexpr auto operands() {
    using namespace declare;
    return std::tuple{reads("output", &ReluGradient::output, exactly<ReluGradient, 0>),
                      reads("outputGradient", &ReluGradient::outputGradient, featuresOf<&ReluGradient::output>),
                      flag("accumulate", &ReluGradient::accumulate),
                      updates("inputGradient", &ReluGradient::inputGradient, featuresOf<&ReluGradient::output>)
                          .addsIf(&ReluGradient::accumulate)
                          .inPlaceOf("output", "outputGradient")};
  }
};

}  // namespace hebb
