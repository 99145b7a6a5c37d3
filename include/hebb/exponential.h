// The exponential function as the optimizers and activations need it, over a lane type F: `float`, or a SIMD vector for
// which LaneTraits is specialised. It rounds after every operation, so it gives the same bits on every processor, SIMD
// width and GPU.
#pragma once

#include "hebb/logarithm.h"

namespace hebb {

namespace exponential {

/// e^x = power (1 + rest), where power is one of 2.
template <class F>
struct Parts {
  F power, rest;
};

/// For x from -87 to 0. x = n log(2) + r with |r| <= log(2) / 2: the sum's last bits are n, and log(2) is in two parts
/// of which the first has few bits.
template <class F>
HEBB_INLINE Parts<F> parts(F x) {
  using T = LaneTraits<F>;
  constexpr float kRound = 12582912.f;
  const F sum = x * T::splat(1.44269504f) + T::splat(kRound);
  const F n = sum - T::splat(kRound);
  const F r = (x - n * T::splat(0.693359375f)) - n * T::splat(-2.12194440e-4f);
  F p = r * T::splat(1.f / 5040) + T::splat(1.f / 720);
  p = p * r + T::splat(1.f / 120);
  p = p * r + T::splat(1.f / 24);
  p = p * r + T::splat(1.f / 6);
  p = p * r + T::splat(0.5f);
  p = p * (r * r) + r;
  return {T::fromBits((T::toBits(sum) - T::toBits(T::splat(kRound)) + 127) << 23), p};
}

}  // namespace exponential

/// 1 - e^x for x <= 0, without the cancellation of the difference where x is near 0. Relative error below 4e-7.
template <class F>
HEBB_INLINE F oneMinusExp(F x) {
  using T = LaneTraits<F>;
  constexpr float kLeast = -30.f;  // 1 - e^x is 1 below
  const auto [power, rest] = exponential::parts(T::select(x < T::splat(kLeast), T::splat(kLeast), x));
  return (T::splat(1.f) - power) - power * rest;
}

/// e^x for x <= 0, relative error below 4e-7; below -87, where floats end, it is e^-87.
template <class F>
HEBB_INLINE F expOf(F x) {
  using T = LaneTraits<F>;
  constexpr float kLeast = -87.f;
  const auto [power, rest] = exponential::parts(T::select(x < T::splat(kLeast), T::splat(kLeast), x));
  return power * rest + power;
}

}  // namespace hebb
