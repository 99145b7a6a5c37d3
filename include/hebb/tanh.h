// The hyperbolic tangent and its gradient.
#pragma once

#include "hebb/activations.h"
#include "hebb/exponential.h"
#include "hebb/operands.h"

namespace hebb {

/// output = tanh(input).
struct Tanh {
  Activations input, output;  // [features][columns] each

  static constexpr auto operands() {
    using namespace declare;
    return std::tuple{reads("input", &Tanh::input, exactly<Tanh, 0>),
                      writes("output", &Tanh::output, featuresOf<&Tanh::input>).inPlaceOf("input")};
  }
};

/// inputGradient = outputGradient (1 - output^2). Adds to inputGradient when `accumulate`.
struct TanhGradient {
  Activations output;          // [features][columns], as Tanh wrote it
  Activations outputGradient;  // [features][columns]
  Activations inputGradient;   // [features][columns]
  bool accumulate = false;

  static constexpr auto operands() {
    using namespace declare;
    return std::tuple{reads("output", &TanhGradient::output, exactly<TanhGradient, 0>),
                      reads("outputGradient", &TanhGradient::outputGradient, featuresOf<&TanhGradient::output>),
                      flag("accumulate", &TanhGradient::accumulate),
                      updates("inputGradient", &TanhGradient::inputGradient, featuresOf<&TanhGradient::output>)
                          .addsIf(&TanhGradient::accumulate)
                          .inPlaceOf("output", "outputGradient")};
  }
};

/// tanh(x) = m / (2 - m) with m = 1 - e^(-2 |x|), and the sign of x. Relative error below 1e-6, the same bits
/// everywhere.
template <class F>
HEBB_INLINE F tanhOf(F x) {
  using T = LaneTraits<F>;
  const F zero = T::splat(0.f);
  const F m = oneMinusExp(T::select(x < zero, x, zero - x) * T::splat(2.f));
  const F y = m / (T::splat(2.f) - m);
  return T::select(x < zero, zero - y, y);
}

/// The gradient that reaches the input, where y = tanh(x).
template <class F>
HEBB_INLINE F tanhGradientOf(F y, F dy) {
  return dy * (LaneTraits<F>::splat(1.f) - y * y);
}

}  // namespace hebb
