// What the operations of a level share: its function names, the cut of a batch into register blocks, and the epilogues.
#pragma once

#include <type_traits>

#include "hebb/operations.h"
#include "simd.h"
#include "hebb/optimizer.h"

namespace hebb::cpu::HEBB_LEVEL {

#define HEBB_DECLARE(Type, name) Status name(Backend&, const Type&);
HEBB_WIDE_OPERATIONS(HEBB_DECLARE)
#undef HEBB_DECLARE

/// Vectors of the batch that a product keeps in registers at once.
inline constexpr int kWidest = W == 16 ? 8 : 4;

/// Calls body(std::integral_constant<int, NV>, column) over blocks of NV vectors that cover `columns` (a multiple of
/// 16).
template <class Body>
HEBB_INLINE void eachBlock(int32_t columns, const Body& body) {
  int32_t c = 0;
  for (; columns - c >= kWidest * W; c += kWidest * W) body(std::integral_constant<int, kWidest>{}, c);
  if constexpr (kWidest > 4) {
    for (; columns - c >= 4 * W; c += 4 * W) body(std::integral_constant<int, 4>{}, c);
  }
  for (; columns - c >= 2 * W; c += 2 * W) body(std::integral_constant<int, 2>{}, c);
  for (; columns - c >= W; c += W) body(std::integral_constant<int, 1>{}, c);
}

/// How many links ahead a product over rows of a far batch prefetches. Reading their indices stays inside the 64 bytes
/// that every buffer has to spare.
inline constexpr int kAhead = 12;

/// Whether a panel of the batch is larger than what a core keeps near: its rows then come from a shared cache or from
/// memory.
HEBB_INLINE bool isFar(const Activations& x) { return int64_t{x.features} * x.panel * 4 > (int64_t{3} << 19); }

/// Prefetches a row of NV vectors.
template <int NV>
HEBB_INLINE void prefetchRow(const float* row) {
  for (int i = 0; i < NV * W; i += 16) __builtin_prefetch(row + i);
}

/// A NaN passes through, so that it is seen where it counts.
HEBB_INLINE Vec activate(Vec v, Activation activation) {
  return activation == Activation::relu ? (v < Vec{} ? Vec{} : v) : v;
}

/// Epilogue of the products that go backward: times the activation's derivative at x, written or added to row `row` of
/// dx.
template <int NV>
HEBB_INLINE void storeGradient(float* dx, const float* x, int32_t row, int64_t panel, const Vec (&sum)[NV],
                               Activation activation, bool accumulate) {
  float* out = dx + row * panel;
  for (int i = 0; i < NV; ++i) {
    Vec g = sum[i];
    if (activation == Activation::relu) g = load(x + row * panel + i * W) > Vec{} ? g : Vec{};
    if (accumulate) g += load(out + i * W);
    store(out + i * W, g);
  }
}

/// One step of SGD on the parameters [begin, end), `gradient` that of the first, times `scale`: the one place of this
/// arithmetic, so that fusing it into a product changes no bits.
HEBB_INLINE void sgdRange(const SgdRule& rule, float rate, const float* gradient, int64_t begin, int64_t end,
                          float scale = 1.f) {
  const Vec decay = splat(rule.weightDecay), momentum = splat(rule.momentum), step = splat(-rate);
  const auto advance = [&](Vec g, Vec& value, Vec& velocity) {
    velocity = mulAdd(momentum, velocity, mulAdd(decay, value, g));
    value = mulAdd(step, velocity, value);
  };
  int64_t at = begin;
  for (; at + W <= end; at += W) {
    Vec value = load(rule.values + at), velocity = rule.velocity ? load(rule.velocity + at) : Vec{};
    advance(load(gradient + (at - begin)) * splat(scale), value, velocity);
    store(rule.values + at, value);
    if (rule.velocity) store(rule.velocity + at, velocity);
  }
  Vec g{}, value{}, velocity{};
  for (int i = 0; at + i < end; ++i) {
    g[i] = gradient[at - begin + i] * scale;
    value[i] = rule.values[at + i];
    if (rule.velocity) velocity[i] = rule.velocity[at + i];
  }
  advance(g, value, velocity);
  for (int i = 0; at + i < end; ++i) {
    rule.values[at + i] = value[i];
    if (rule.velocity) rule.velocity[at + i] = velocity[i];
  }
}

/// Writes or adds `count` (at most 4) gradients at place `at`. Where there is room before `end`, all four lanes are
/// written: what follows in this chunk overwrites the spare ones.
HEBB_INLINE void emitGradient(float* gradient, int64_t at, int64_t end, Vec4 g, int count, bool accumulate) {
  if (count == 4 || (!accumulate && at + 4 <= end)) {
    store4(gradient + at, accumulate ? load4(gradient + at) + g : g);
  } else {
    for (int i = 0; i < count; ++i) gradient[at + i] = accumulate ? gradient[at + i] + g[i] : g[i];
  }
}

}  // namespace hebb::cpu::HEBB_LEVEL
