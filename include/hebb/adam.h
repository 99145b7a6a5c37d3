// The arithmetic of one step of Adam, over a lane type F: `float`, or a SIMD vector for which LaneTraits is
// specialised. It is written once and rounds after every operation, so that it gives the same bits on every processor,
// SIMD width and GPU.
#pragma once

#include "hebb/exponential.h"
#include "hebb/logarithm.h"
#include "hebb/optimizer.h"

namespace hebb {

/// What a step needs beside the parameters: the operation's numbers as floats.
struct AdamFactors {
  float beta1, rest1, log1, beta2, rest2, log2;  // beta, 1 - beta, log(beta)
  float epsilon, coupled, decoupled;             // one of the weight decays is 0
  float warmup, rise;                            // steps of the warm-up, 1 / warmup

  explicit AdamFactors(const Adam& op)
      : beta1(static_cast<float>(op.beta1)), rest1(static_cast<float>(1 - op.beta1)), log1(logOf(op.beta1)),
        beta2(static_cast<float>(op.beta2)), rest2(static_cast<float>(1 - op.beta2)), log2(logOf(op.beta2)),
        epsilon(static_cast<float>(op.epsilon)), coupled(op.decoupled ? 0.f : static_cast<float>(op.weightDecay)),
        decoupled(op.decoupled ? static_cast<float>(op.weightDecay) : 0.f), warmup(static_cast<float>(op.warmup)),
        rise(op.warmup > 0 ? static_cast<float>(1 / op.warmup) : 0.f) {}

 private:
  static float logOf(double beta) { return beta > 0 ? static_cast<float>(std::log(beta)) : -1e30f; }
};

/// What the number of steps says: what moments of zeros at the start leave of the mean and the mean square, and how
/// much of the rate counts.
template <class F>
struct AdamCorrections {
  F mean, square, warm;

  HEBB_INLINE AdamCorrections(const AdamFactors& f, F steps)
      : mean(oneMinusExp(steps * LaneTraits<F>::splat(f.log1))),
        square(oneMinusExp(steps * LaneTraits<F>::splat(f.log2))),
        warm(LaneTraits<F>::select(steps < LaneTraits<F>::splat(f.warmup), steps * LaneTraits<F>::splat(f.rise),
                                   LaneTraits<F>::splat(1.f))) {}
};

/// The step of one parameter (of each lane), with the corrections of its number of steps.
template <class F>
HEBB_INLINE void adamStep(const AdamFactors& f, float rate, const AdamCorrections<F>& of, F gradient, F& value,
                          F& first, F& second) {
  using T = LaneTraits<F>;
  gradient = gradient + T::splat(f.coupled) * value;
  first = T::splat(f.beta1) * first + T::splat(f.rest1) * gradient;
  second = T::splat(f.beta2) * second + T::splat(f.rest2) * (gradient * gradient);
  value = value - T::splat(rate * f.decoupled) * of.warm * value;
  value = value - T::splat(rate) * of.warm * first / (of.mean * (T::sqrt(second / of.square) + T::splat(f.epsilon)));
}

/// The same of a parameter that counts its own steps.
template <class F>
HEBB_INLINE void adamStep(const AdamFactors& f, float rate, F gradient, F& value, F& first, F& second, F& steps) {
  steps = steps + LaneTraits<F>::splat(1.f);
  adamStep(f, rate, AdamCorrections<F>(f, steps), gradient, value, first, second);
}

}  // namespace hebb
