// What a product does with four columns of a row once they are summed, in the place where they are stored: the same for
// sparse and dense layers.
#pragma once

#include "hebb/activations.h"
#include "launch.cuh"

namespace hebb::cuda {

/// activation(sum + bias). A NaN passes through, so that it is seen where it counts.
struct ForwardEpilogue {
  const float* bias;  // or null
  bool relu;
  __device__ __forceinline__ const ForwardEpilogue& inPanel(int32_t) const { return *this; }
  __device__ __forceinline__ void store(float* y, int64_t at, int32_t row, float4 sum) const {
    const float b = bias ? loadReused(bias + row) : 0.f;
    const bool clip = relu;
    store4(y + at, each4([=](float s) { return clip && s + b < 0.f ? 0.f : s + b; }, sum));
  }
};

/// The gradient times the activation's derivative, written or added.
struct BackwardEpilogue {
  const float* input;  // where relu's derivative is taken, or null
  bool accumulate;
  int64_t gap;  // elements that the input's panels are further apart than the gradient's
  __device__ __forceinline__ BackwardEpilogue inPanel(int32_t p) const {
    return {input ? input + p * gap : nullptr, accumulate, gap};
  }
  __device__ __forceinline__ void store(float* y, int64_t at, int32_t, float4 gradient) const {
    if (input) gradient = each4([](float g, float x) { return x > 0.f ? g : 0.f; }, gradient, load4(input + at));
    if (accumulate) gradient = each4([](float g, float sum) { return g + sum; }, gradient, load4(y + at));
    store4(y + at, gradient);
  }
};

/// Of a product that goes backward, whose operation is `op`.
template <class Op>
BackwardEpilogue backwardEpilogue(const Op& op) {
  if (op.activation != Activation::relu) return {nullptr, op.accumulate, 0};
  return {op.input.data, op.accumulate, op.input.panelStride() - op.inputGradient.panelStride()};
}

}  // namespace hebb::cuda
