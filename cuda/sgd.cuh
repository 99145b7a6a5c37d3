// One step of SGD on one parameter: the one place of this arithmetic on the device, so that fusing it into sddmm
// changes no bits. They are those of the CPU levels that fuse multiply and add.
#pragma once

#include "hebb/optimizer.h"
#include "launch.cuh"

namespace hebb::cuda {

/// The rule with its rate read, once for a thread.
struct SgdStep {
  float* values;
  float* velocity;
  float rate, momentum, decay;

  __device__ __forceinline__ explicit SgdStep(const SgdRule& rule)
      : values(rule.values), velocity(rule.velocity), rate(rule.values ? static_cast<float>(*rule.learningRate) : 0.f),
        momentum(rule.momentum), decay(rule.weightDecay) {}

  __device__ __forceinline__ void advance(float g, float& value, float& speed) const {
    speed = fmaf(momentum, speed, fmaf(decay, value, g));
    value = fmaf(-rate, speed, value);
  }

  /// The step of parameter i, whose gradient is g.
  __device__ __forceinline__ void at(int64_t i, float g) const {
    float value = values[i], speed = velocity ? velocity[i] : 0.f;
    advance(g, value, speed);
    values[i] = value;
    if (velocity) velocity[i] = speed;
  }

  /// The steps of four parameters from i, a multiple of 4.
  __device__ __forceinline__ void at4(int64_t i, float4 g) const {
    float4 value = load4(values + i), speed = velocity ? load4(velocity + i) : make_float4(0.f, 0.f, 0.f, 0.f);
    advance(g.x, value.x, speed.x);
    advance(g.y, value.y, speed.y);
    advance(g.z, value.z, speed.z);
    advance(g.w, value.w, speed.w);
    store4(values + i, value);
    if (velocity) store4(velocity + i, speed);
  }
};

}  // namespace hebb::cuda
