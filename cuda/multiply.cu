// output = first * second, element by element, or added to output: four columns a thread. Bound by memory: 12 bytes an
// element (16 when it accumulates), over the live columns. The bits are the CPU's: the product is rounded before it is
// added.
#include "hebb/multiply.h"

#include "pointwise.cuh"

namespace hebb::cuda {
namespace {

struct Product {
  Panels<const float> first, second;
  Panels<float> output;
  bool accumulate;
  __device__ __forceinline__ void at(int32_t p, int64_t i) const {
    const auto times = [](float a, float b) { return a * b; };
    const auto plus = [](float a, float b) { return a + b; };
    float4 product = each4(times, load4(first.at(p, i)), load4(second.at(p, i)));
    float* const to = output.at(p, i);
    if (accumulate) product = each4(plus, product, load4(to));
    store4(to, product);
  }
};

}  // namespace

Status multiply(Backend& backend, const Multiply& op) {
  return each(
      cudaOf(backend), "multiply", op.output,
      Product{Panels<const float>(op.first), Panels<const float>(op.second), Panels<float>(op.output), op.accumulate});
}

}  // namespace hebb::cuda
