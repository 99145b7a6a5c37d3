// What a product does with four columns of a row once they are summed, in the place where they are stored: the same for
// sparse and dense layers.
#pragma once

#include "launch.cuh"

namespace hebb::cuda {

/// activation(sum + bias). A NaN passes through, so that it is seen where it counts.
struct ForwardEpilogue {
  const float* bias;  // or null
  bool relu;
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
  __device__ __forceinline__ void store(float* y, int64_t at, int32_t, float4 gradient) const {
    if (input) gradient = each4([](float g, float x) { return x > 0.f ? g : 0.f; }, gradient, load4(input + at));
    if (accumulate) gradient = each4([](float g, float sum) { return g + sum; }, gradient, load4(y + at));
    store4(y + at, gradient);
  }
};

}  // namespace hebb::cuda
