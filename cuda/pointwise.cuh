// The walk of operations that take each element by itself: four, or eight, columns of a panel's rows to a thread, over
// the live columns. Operands may be in place, so nothing is read through the read-only cache.
#pragma once

#include "launch.cuh"

namespace hebb::cuda {

/// The panels of an operand; views have them further apart.
template <class Number>
struct Panels {
  Number* data;
  int64_t stride;
  explicit Panels(const Activations& a) : data(a.data), stride(a.panelStride()) {}
  __device__ __forceinline__ Number* at(int32_t p, int64_t i) const { return data + p * stride + i; }
};

constexpr int kPointwiseThreads = 256;

/// Calls body.at(p, i) for `Many` elements from i on of panel p: `blocksOfPanel` blocks cover the panel.
template <int Many, class Body>
__global__ void __launch_bounds__(kPointwiseThreads)
    eachElement(Activations a, Body body, int32_t blocksOfPanel, const Failure* failure) {
  const int32_t block = static_cast<int32_t>(blockIdx.x), p = block / blocksOfPanel, parts = a.panel / Many;
  const int64_t i = int64_t{block % blocksOfPanel} * kPointwiseThreads + static_cast<int>(threadIdx.x);
  if (i >= int64_t{a.features} * parts) return;
  if (static_cast<int32_t>(i % parts) * Many >= liveColumns(a.axis, a.capacity, a.panel, p) || failed(failure)) return;
  body.at(p, i * Many);
}

template <int Many = 4, class Body>
Status each(Cuda& cuda, const char* operation, const Activations& a, const Body& body) {
  const int64_t blocksOfPanel = (int64_t{a.features} * (a.panel / Many) + kPointwiseThreads - 1) / kPointwiseThreads;
  return launch(cuda, operation, eachElement<Many, Body>, blocksOfPanel * a.panels(), dim3(kPointwiseThreads), 0, a,
                body, static_cast<int32_t>(blocksOfPanel), cuda.failure());
}

}  // namespace hebb::cuda
