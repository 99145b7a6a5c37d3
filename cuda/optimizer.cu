// Optimizers that were not fused into a product. Four parameters a thread. Bound by memory: SGD moves 12 bytes a
// parameter, 20 with momentum, Adam 36, or
// 28 where all share a count of steps. The number of a sparse layer's parameters is read on the device.
#include "hebb/optimizer.h"

#include "hebb/adam.h"
#include "sgd.cuh"

namespace hebb::cuda {
namespace {

constexpr int kThreads = 256;

__device__ __forceinline__ float scaleOf(const double* scale) { return scale ? static_cast<float>(*scale) : 1.f; }

__device__ __forceinline__ float4 scaled4(float4 v, float scale) {
  return each4([=](float g) { return g * scale; }, v);
}

__global__ void __launch_bounds__(kThreads) stepSgd(Sgd op, const Failure* failure) {
  if (failed(failure)) return;
  const int64_t count = op.count ? *op.count : op.capacity;
  const int64_t i = (int64_t{blockIdx.x} * kThreads + static_cast<int>(threadIdx.x)) * 4;
  if (i >= count) return;
  const SgdStep step(op.rule);
  const float scale = scaleOf(op.scale);
  if (i + 4 <= count) {
    step.at4(i, scaled4(load4(op.gradient + i), scale));
  } else {
    for (int64_t k = i; k < count; ++k) step.at(k, op.gradient[k] * scale);
  }
}

/// A count of steps that all share is read here, and counted by the next kernel.
template <bool SharedSteps>
__global__ void __launch_bounds__(kThreads) stepAdam(Adam op, AdamFactors factors, const Failure* failure) {
  if (failed(failure)) return;
  const int64_t count = op.count ? *op.count : op.capacity;
  const int64_t i = (int64_t{blockIdx.x} * kThreads + static_cast<int>(threadIdx.x)) * 4;
  if (i >= count) return;
  const float rate = static_cast<float>(*op.learningRate), shared = SharedSteps ? *op.steps : 0.f;
  const float scale = scaleOf(op.scale);
  if (i + 4 <= count) {
    const float4 gradient = scaled4(load4(op.gradient + i), scale);
    float4 value = load4(op.values + i), first = load4(op.firstMoment + i), second = load4(op.secondMoment + i),
           steps = SharedSteps ? make_float4(shared, shared, shared, shared) : load4(op.steps + i);
    adamStep(factors, rate, gradient.x, value.x, first.x, second.x, steps.x);
    adamStep(factors, rate, gradient.y, value.y, first.y, second.y, steps.y);
    adamStep(factors, rate, gradient.z, value.z, first.z, second.z, steps.z);
    adamStep(factors, rate, gradient.w, value.w, first.w, second.w, steps.w);
    store4(op.values + i, value);
    store4(op.firstMoment + i, first);
    store4(op.secondMoment + i, second);
    if (!SharedSteps) store4(op.steps + i, steps);
  } else {
    for (int64_t k = i; k < count; ++k) {
      float steps = SharedSteps ? shared : op.steps[k];
      adamStep(factors, rate, op.gradient[k] * scale, op.values[k], op.firstMoment[k], op.secondMoment[k], steps);
      if (!SharedSteps) op.steps[k] = steps;
    }
  }
}

__global__ void countStep(float* steps, const Failure* failure) {
  if (!failed(failure)) *steps += 1.f;
}

}  // namespace

Status sgd(Backend& backend, const Sgd& op) {
  Cuda& cuda = cudaOf(backend);
  return launch(cuda, "sgd", stepSgd, (op.capacity + 4 * kThreads - 1) / (4 * kThreads), dim3(kThreads), 0, op,
                cuda.failure());
}

Status adam(Backend& backend, const Adam& op) {
  Cuda& cuda = cudaOf(backend);
  const int64_t blocks = (op.capacity + 4 * kThreads - 1) / (4 * kThreads);
  const auto step = op.sharedSteps ? stepAdam<true> : stepAdam<false>;
  HEBB_RETURN_IF_ERROR(launch(cuda, "adam", step, blocks, dim3(kThreads), 0, op, AdamFactors(op), cuda.failure()));
  if (!op.sharedSteps) return {};
  return launch(cuda, "adam", countStep, 1, dim3(1), 0, op.steps, cuda.failure());
}

}  // namespace hebb::cuda
