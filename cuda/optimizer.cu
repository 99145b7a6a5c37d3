// Optimizers that were not fused into a product. Four parameters a thread. Bound by memory: 12 bytes a parameter, 20 with momentum. The number of
// a sparse layer's parameters is read on the device.
#include "hebb/optimizer.h"

#include "sgd.cuh"

namespace hebb::cuda {
namespace {

constexpr int kThreads = 256;

__global__ void __launch_bounds__(kThreads) stepSgd(Sgd op, const Failure* failure) {
  if (failed(failure)) return;
  const int64_t count = op.count ? *op.count : op.capacity;
  const int64_t i = (int64_t{blockIdx.x} * kThreads + static_cast<int>(threadIdx.x)) * 4;
  if (i >= count) return;
  const SgdStep step(op.rule);
  if (i + 4 <= count) {
    step.at4(i, load4(op.gradient + i));
  } else {
    for (int64_t k = i; k < count; ++k) step.at(k, op.gradient[k]);
  }
}

}  // namespace

Status sgd(Backend& backend, const Sgd& op) {
  Cuda& cuda = cudaOf(backend);
  return launch(cuda, "sgd", stepSgd, (op.capacity + 4 * kThreads - 1) / (4 * kThreads), dim3(kThreads), 0, op, cuda.failure());
}

}  // namespace hebb::cuda
