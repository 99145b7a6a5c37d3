// What the operations of a level share: its function names, the cut of a batch into register blocks, and the epilogues.
#pragma once

#include <type_traits>

#include "hebb/operations.h"
#include "simd.h"

namespace hebb::cpu::HEBB_LEVEL {

Status gather(Backend&, const Gather&);
Status gatherLabels(Backend&, const GatherLabels&);
Status spmm(Backend&, const Spmm&);
Status spmmTransposed(Backend&, const SpmmTransposed&);
Status sddmm(Backend&, const Sddmm&);
Status linear(Backend&, const Linear&);
Status linearTransposed(Backend&, const LinearTransposed&);
Status linearGradient(Backend&, const LinearGradient&);
Status relu(Backend&, const Relu&);
Status reluGradient(Backend&, const ReluGradient&);
Status softmaxCrossEntropy(Backend&, const SoftmaxCrossEntropy&);
Status meanSquaredError(Backend&, const MeanSquaredError&);
Status sgd(Backend&, const Sgd&);
Status importance(Backend&, const Importance&);
Status keepLinks(Backend&, const KeepLinks&);
Status sampleScores(Backend&, const SampleScores&);
Status predictLinks(Backend&, const PredictLinks&);
Status regrow(Backend&, const Regrow&);

/// Vectors of the batch that a product keeps in registers at once.
inline constexpr int kWidest = W == 16 ? 8 : 4;

/// Calls body(std::integral_constant<int, NV>, column) over blocks of NV vectors that cover `columns` (a multiple of 16).
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

/// A NaN passes through, so that it is seen where it counts.
HEBB_INLINE Vec activate(Vec v, Activation activation) { return activation == Activation::relu ? (v < Vec{} ? Vec{} : v) : v; }

/// Epilogue of the products that go backward: times the activation's derivative at x, written or added to row `row` of dx.
template <int NV>
HEBB_INLINE void storeGradient(float* dx, const float* x, int32_t row, int64_t panel, const Vec (&sum)[NV], Activation activation, bool accumulate) {
  float* out = dx + row * panel;
  for (int i = 0; i < NV; ++i) {
    Vec g = sum[i];
    if (activation == Activation::relu) g = load(x + row * panel + i * W) > Vec{} ? g : Vec{};
    if (accumulate) g += load(out + i * W);
    store(out + i * W, g);
  }
}

/// One step of SGD on a few parameters: the same arithmetic wherever it is used, so that fusing it changes no bits.
HEBB_INLINE void sgdStep(const SgdRule& rule, float rate, Vec4 gradient, Vec4& value, Vec4& velocity) {
  const Vec4 g = mulAdd4(splat4(rule.weightDecay), value, gradient);
  velocity = mulAdd4(splat4(rule.momentum), velocity, g);
  value = mulAdd4(splat4(-rate), velocity, value);
}

/// sgdStep on `count` (at most 4) parameters from place `at`.
HEBB_INLINE void sgdUpdate(const SgdRule& rule, float rate, int64_t at, Vec4 gradient, int count) {
  if (count == 4) {
    Vec4 value = load4(rule.values + at), velocity = rule.velocity ? load4(rule.velocity + at) : Vec4{};
    sgdStep(rule, rate, gradient, value, velocity);
    store4(rule.values + at, value);
    if (rule.velocity) store4(rule.velocity + at, velocity);
    return;
  }
  Vec4 value{}, velocity{};
  for (int i = 0; i < count; ++i) {
    value[i] = rule.values[at + i];
    if (rule.velocity) velocity[i] = rule.velocity[at + i];
  }
  sgdStep(rule, rate, gradient, value, velocity);
  for (int i = 0; i < count; ++i) {
    rule.values[at + i] = value[i];
    if (rule.velocity) rule.velocity[at + i] = velocity[i];
  }
}

/// Writes, adds or applies `count` (at most 4) gradients: what a gradient product does with its result.
HEBB_INLINE void emitGradient(float* gradient, const SgdRule& fused, float rate, int64_t at, Vec4 g, int count, bool accumulate) {
  if (accumulate) {
    for (int i = 0; i < count; ++i) g[i] += gradient[at + i];
  }
  if (fused.values) {
    sgdUpdate(fused, rate, at, g, count);
  } else if (count == 4) {
    store4(gradient + at, g);
  } else {
    for (int i = 0; i < count; ++i) gradient[at + i] = g[i];
  }
}

}  // namespace hebb::cpu::HEBB_LEVEL
