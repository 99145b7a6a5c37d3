// log2 and log1p in fp32, from integer operations and fused multiply-adds alone, so that they are the same bits on
// every processor, SIMD width and GPU. (libm's differ from machine to machine, and a sampled topology must not.)
//
// Both are written once, over a lane type F: `float`, or a SIMD vector for which LaneTraits is specialised. Needs
// -ffp-contract=off (nvcc: -fmad=false), which the build sets. Relative error below 2 units in the last place.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>

#include "hebb/philox.h"

namespace hebb {

template <class F>
struct LaneTraits;

template <>
struct LaneTraits<float> {
  using Int = int32_t;
  static HEBB_INLINE float splat(float x) { return x; }
  static HEBB_INLINE float fma(float a, float b, float c) { return ::fmaf(a, b, c); }
  static HEBB_INLINE float sqrt(float x) { return ::sqrtf(x); }
  static HEBB_INLINE int32_t toBits(float x) {
    int32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
  }
  static HEBB_INLINE float fromBits(int32_t bits) {
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
  }
  static HEBB_INLINE float convert(int32_t i) { return static_cast<float>(i); }
  static HEBB_INLINE float select(bool mask, float a, float b) { return mask ? a : b; }
};

namespace logarithm {

/// log(1 + f) for 1 + f in [sqrt(1/2), sqrt(2)): f + f^2 Q(f), Q the minimax polynomial of degree 8 of this interval.
template <class F>
HEBB_INLINE F logOnePlus(F f) {
  using T = LaneTraits<F>;
  F q = T::splat(-0.07623109221458435f);
  q = T::fma(q, f, T::splat(0.12905625998973846f));
  q = T::fma(q, f, T::splat(-0.13243022561073303f));
  q = T::fma(q, f, T::splat(0.1418161541223526f));
  q = T::fma(q, f, T::splat(-0.1660904884338379f));
  q = T::fma(q, f, T::splat(0.20001985132694244f));
  q = T::fma(q, f, T::splat(-0.25001585483551025f));
  q = T::fma(q, f, T::splat(0.33333325386047363f));
  q = T::fma(q, f, T::splat(-0.49999988079071045f));
  return T::fma(q, f * f, f);
}

inline constexpr int32_t kSqrtHalfBits = 0x3F3504F3;

}  // namespace logarithm

/// log2(x) for finite x > 0, denormals included. Other x give an unspecified finite or non-finite value, never a trap.
template <class F>
HEBB_INLINE F log2Exact(F x) {
  using T = LaneTraits<F>;
  const auto tiny = x < T::splat(1.17549435e-38f);
  x = T::select(tiny, x * T::splat(16777216.f), x);
  const typename T::Int bits = T::toBits(x);
  const typename T::Int exponent = (bits - logarithm::kSqrtHalfBits) >> 23;
  const F f = T::fromBits(bits - exponent * (1 << 23)) - T::splat(1.f);
  const F k = T::convert(exponent) - T::select(tiny, T::splat(24.f), T::splat(0.f));
  return T::fma(logarithm::logOnePlus(f), T::splat(1.44269504f), k);
}

/// -log(1 - v) for v in (0, 1 - 2^-24]: an exponential variate from a uniform one, exact in relative terms for small v.
template <class F>
HEBB_INLINE F exponentialFromUniform(F v) {
  using T = LaneTraits<F>;
  const typename T::Int bits = T::toBits(T::splat(1.f) - v);
  const typename T::Int exponent = (bits - logarithm::kSqrtHalfBits) >> 23;
  const F reduced = T::fromBits(bits - exponent * (1 << 23)) - T::splat(1.f);
  const F f = T::select(exponent == 0, T::splat(0.f) - v, reduced);
  const F k = T::convert(exponent);
  return T::splat(0.f) - T::fma(k, T::splat(0.693147181f), logarithm::logOnePlus(f));
}

}  // namespace hebb
