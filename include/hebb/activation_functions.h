// Activation functions and their gradients: each element by itself. A function is a formula over a lane type F, `float`
// or a SIMD vector, and so the same bits on every processor, SIMD width and GPU.
#pragma once

#include "hebb/activations.h"
#include "hebb/exponential.h"
#include "hebb/operands.h"

namespace hebb {

/// output = f(input).
template <class Formula>
struct ActivationFunction {
  Activations input, output;  // [features][columns] each

  static constexpr auto operands() {
    using namespace declare;
    using Op = ActivationFunction;
    return std::tuple{reads("input", &Op::input, exactly<Op, 0>),
                      writes("output", &Op::output, featuresOf<&Op::input>).inPlaceOf("input")};
  }
};

/// inputGradient = outputGradient f'(input). Adds to inputGradient when `accumulate`. f' is computed from the
/// function's output, or from its input, as the formula says: the operand has that name.
template <class Formula>
struct ActivationGradient {
  Activations at;              // [features][columns], the function's output or input
  Activations outputGradient;  // [features][columns]
  Activations inputGradient;   // [features][columns]
  bool accumulate = false;

  static constexpr auto operands() {
    using namespace declare;
    using Op = ActivationGradient;
    return std::tuple{reads(Formula::kGradientAt, &Op::at, exactly<Op, 0>),
                      reads("outputGradient", &Op::outputGradient, featuresOf<&Op::at>),
                      flag("accumulate", &Op::accumulate),
                      updates("inputGradient", &Op::inputGradient, featuresOf<&Op::at>)
                          .addsIf(&Op::accumulate)
                          .inPlaceOf(Formula::kGradientAt, "outputGradient")};
  }
};

/// max(x, 0). A NaN passes through, so that it is seen where it counts.
struct ReluFormula {
  static constexpr const char* kGradientAt = "output";
  template <class F>
  static HEBB_INLINE F value(F x) {
    const F zero = LaneTraits<F>::splat(0.f);
    return LaneTraits<F>::select(x < zero, zero, x);
  }
  template <class F>
  static HEBB_INLINE F gradient(F y, F dy) {
    const F zero = LaneTraits<F>::splat(0.f);
    return LaneTraits<F>::select(y > zero, dy, zero);
  }
};

/// tanh(x) = m / (2 - m) with m = 1 - e^(-2 |x|), and the sign of x. Relative error below 1e-6.
struct TanhFormula {
  static constexpr const char* kGradientAt = "output";
  template <class F>
  static HEBB_INLINE F value(F x) {
    using T = LaneTraits<F>;
    const F zero = T::splat(0.f);
    const F m = oneMinusExp(T::select(x < zero, x, zero - x) * T::splat(2.f));
    const F y = m / (T::splat(2.f) - m);
    return T::select(x < zero, zero - y, y);
  }
  template <class F>
  static HEBB_INLINE F gradient(F y, F dy) {
    return dy * (LaneTraits<F>::splat(1.f) - y * y);
  }
};

/// 1 / (1 + e^-x). Relative error below 1e-6 down to -87; below, about 1e-38.
struct SigmoidFormula {
  static constexpr const char* kGradientAt = "output";
  template <class F>
  static HEBB_INLINE F value(F x) {
    using T = LaneTraits<F>;
    const F zero = T::splat(0.f), one = T::splat(1.f), e = expOf(T::select(x < zero, x, zero - x));
    return T::select(x < zero, e, one) / (one + e);
  }
  template <class F>
  static HEBB_INLINE F gradient(F y, F dy) {
    return dy * (y * (LaneTraits<F>::splat(1.f) - y));
  }
};

/// SiLU, or Swish: x / (1 + e^-x) (Hendrycks and Gimpel, 2016; Ramachandran et al., 2017).
struct SiluFormula {
  static constexpr const char* kGradientAt = "input";
  template <class F>
  static HEBB_INLINE F value(F x) {
    return x * SigmoidFormula::value(x);
  }
  /// s + x s (1 - s), where s = sigmoid(x).
  template <class F>
  static HEBB_INLINE F gradient(F x, F dy) {
    const F s = SigmoidFormula::value(x);
    return dy * (s + x * (s * SigmoidFormula::value(LaneTraits<F>::splat(0.f) - x)));
  }
};

/// GELU (Hendrycks and Gimpel, 2016): x P(x), P the normal distribution, without the approximation by tanh.
struct GeluFormula {
  static constexpr const char* kGradientAt = "input";
  template <class F>
  static HEBB_INLINE F value(F x) {
    return x * distribution(x).below;
  }
  /// P(x) + x p(x), p the normal density.
  template <class F>
  static HEBB_INLINE F gradient(F x, F dy) {
    const auto at = distribution(x);
    return dy * (at.below + x * (at.power * LaneTraits<F>::splat(0.398942280f)));
  }

 private:
  template <class F>
  struct Distribution {
    F below;  // the normal distribution at x
    F power;  // e^(-x^2 / 2)
  };
  /// P(-z) = t Q(t) e^(-z^2 / 2) for z >= 0, where t = 1 / (1 + 0.2121 z) and Q is a polynomial of degree 8, fitted to
  /// the least relative error for z up to 13. Relative error of P(-z) below 3e-6, most of it that of z^2.
  template <class F>
  static HEBB_INLINE Distribution<F> distribution(F x) {
    using T = LaneTraits<F>;
    const F zero = T::splat(0.f), one = T::splat(1.f), z = T::select(x < zero, zero - x, x);
    const F power = expOf(zero - z * z * T::splat(0.5f));
    const F t = one / (one + z * T::splat(0.212132034f));
    F q = t * T::splat(-0.06472273f) + T::splat(0.2425781f);
    q = q * t + T::splat(-0.2556805f);
    q = q * t + T::splat(0.27328223f);
    q = q * t + T::splat(-0.046880763f);
    q = q * t + T::splat(0.107249424f);
    q = q * t + T::splat(0.074232064f);
    q = q * t + T::splat(0.08534745f);
    q = q * t + T::splat(0.084594704f);
    const F tail = q * t * power;
    return {T::select(x < zero, tail, one - tail), power};
  }
};

struct Relu : ActivationFunction<ReluFormula> {};
struct ReluGradient : ActivationGradient<ReluFormula> {};
struct Tanh : ActivationFunction<TanhFormula> {};
struct TanhGradient : ActivationGradient<TanhFormula> {};
struct Sigmoid : ActivationFunction<SigmoidFormula> {};
struct SigmoidGradient : ActivationGradient<SigmoidFormula> {};
struct Silu : ActivationFunction<SiluFormula> {};
struct SiluGradient : ActivationGradient<SiluFormula> {};
struct Gelu : ActivationFunction<GeluFormula> {};
struct GeluGradient : ActivationGradient<GeluFormula> {};

}  // namespace hebb
