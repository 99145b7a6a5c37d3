// The product of two batches, element by element: what a gate lets through, as in SwiGLU, and the gradient of each
// factor.
#pragma once

#include "hebb/activations.h"
#include "hebb/operands.h"

namespace hebb {

/// output = first * second, element by element; both may be the same. Adds to output when `accumulate`.
struct Multiply {
  Activations first, second, output;  // [features][columns] each
  bool accumulate = false;

  static constexpr auto operands() {
    using namespace declare;
    return std::tuple{reads("first", &Multiply::first, exactly<Multiply, 0>),
                      reads("second", &Multiply::second, featuresOf<&Multiply::first>),
                      flag("accumulate", &Multiply::accumulate),
                      updates("output", &Multiply::output, featuresOf<&Multiply::first>)
                          .addsIf(&Multiply::accumulate)
                          .inPlaceOf("first", "second")};
  }
};

}  // namespace hebb
