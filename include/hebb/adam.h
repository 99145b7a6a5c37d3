// The arithmetic of one step of Adam, over a lane type F: `float`, or a SIMD vector for which LaneTraits is
// specialised. It is written once and rounds after every operation, so that it gives the same bits on every processor,
// SIMD width and GPU.
#pragma once

#include "hebb/logarithm.h"
#include "hebb/optimizer.h"

namespace hebb {

/// What a step needs beside the parameters: the operation's numbers as floats.
struct AdamFactors {
  float beta1, rest1, log1, beta2, rest2, log2;  // beta, 1 - beta, log(beta)
  float epsilon, coupled, decoupled;             // one of the weight decays is 0

  explicit AdamFactors(const Adam& op)
      : beta1(static_cast<float>(op.beta1)), rest1(static_cast<float>(1 - op.beta1)), log1(logOf(op.beta1)),
        beta2(static_cast<float>(op.beta2)), rest2(static_cast<float>(1 - op.beta2)), log2(logOf(op.beta2)),
        epsilon(static_cast<float>(op.epsilon)), coupled(op.decoupled ? 0.f : static_cast<float>(op.weightDecay)),
        decoupled(op.decoupled ? static_cast<float>(op.weightDecay) : 0.f) {}

 private:
  static float logOf(double beta) { return beta > 0 ? static_cast<float>(std::log(beta)) : -1e30f; }
};

/// 1 - e^x for x < 0, that is 1 - beta^t for x = t log(beta): without the cancellation of the difference where x is
/// near 0. Relative error below 4e-7.
template <class F>
HEBB_INLINE F oneMinusExp(F x) {
  using T = LaneTraits<F>;
  constexpr float kLeast = -30.f;  // 1 - e^x is 1 below
  x = T::select(x < T::splat(kLeast), T::splat(kLeast), x);
  // x = n log(2) + r with |r| <= log(2) / 2. The sum's last bits are n, and log(2) is in two parts of which the first
  // has few bits.
  constexpr float kRound = 12582912.f;
  const F sum = x * T::splat(1.44269504f) + T::splat(kRound);
  const F n = sum - T::splat(kRound);
  const F r = (x - n * T::splat(0.693359375f)) - n * T::splat(-2.12194440e-4f);
  F p = r * T::splat(1.f / 5040) + T::splat(1.f / 720);
  p = p * r + T::splat(1.f / 120);
  p = p * r + T::splat(1.f / 24);
  p = p * r + T::splat(1.f / 6);
  p = p * r + T::splat(0.5f);
  p = p * (r * r) + r;  // e^r - 1
  const F power = T::fromBits((T::toBits(sum) - T::toBits(T::splat(kRound)) + 127) << 23);
  return (T::splat(1.f) - power) - power * p;
}

/// The step of one parameter (of each lane).
template <class F>
HEBB_INLINE void adamStep(const AdamFactors& f, float rate, F gradient, F& value, F& first, F& second, F& steps) {
  using T = LaneTraits<F>;
  const F one = T::splat(1.f);
  gradient = gradient + T::splat(f.coupled) * value;
  first = T::splat(f.beta1) * first + T::splat(f.rest1) * gradient;
  second = T::splat(f.beta2) * second + T::splat(f.rest2) * (gradient * gradient);
  steps = steps + one;
  const F mean = oneMinusExp(steps * T::splat(f.log1)), square = oneMinusExp(steps * T::splat(f.log2));
  value = value - T::splat(rate * f.decoupled) * value;
  value = value - T::splat(rate) * first / (mean * (T::sqrt(second / square) + T::splat(f.epsilon)));
}

}  // namespace hebb
