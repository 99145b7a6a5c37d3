// Pairs of features are turned, four columns a thread. Bound by memory: 12 bytes an element, of which the angles, that
// all heads share, come from L2. The bits are the CPU's.
#include "hebb/rotate.h"

#include "pointwise.cuh"

namespace hebb::cuda {
namespace {

struct Turn {
  Panels<const float> input, angles;
  Panels<float> output;
  int32_t panel, half;
  bool back, accumulate;
  /// Element i of the pairs: their first features, all heads'.
  __device__ __forceinline__ void at(int32_t p, int64_t i) const {
    const auto pair = static_cast<int32_t>(i / panel), column = static_cast<int32_t>(i % panel);
    const int64_t first = int64_t{pair / half * 2 * half + pair % half} * panel + column,
                  second = first + int64_t{half} * panel, angle = int64_t{pair % half} * panel + column;
    const float4 a = load4(input.at(p, first)), b = load4(input.at(p, second)), cosine = load4(angles.at(p, angle)),
                 plus = load4(angles.at(p, angle + int64_t{half} * panel));
    const float4 sine = each4([this](float s) { return back ? -s : s; }, plus);
    float4 u = each4([](float x, float cos, float other) { return x * cos - other; }, a, cosine, product(b, sine));
    float4 v = each4([](float x, float cos, float other) { return x * cos + other; }, b, cosine, product(a, sine));
    if (accumulate) {
      u = each4([](float x, float sum) { return x + sum; }, u, load4(output.at(p, first)));
      v = each4([](float x, float sum) { return x + sum; }, v, load4(output.at(p, second)));
    }
    store4(output.at(p, first), u);
    store4(output.at(p, second), v);
  }
  static __device__ __forceinline__ float4 product(float4 a, float4 b) {
    return each4([](float x, float y) { return x * y; }, a, b);
  }
};

}  // namespace

Status rotate(Backend& backend, const Rotate& op) {
  Activations pairs = op.output;
  pairs.features /= 2;
  return each(cudaOf(backend), "rotate", pairs,
              Turn{Panels<const float>(op.input), Panels<const float>(op.angles), Panels<float>(op.output),
                   op.output.panel, op.angles.features / 2, op.back, op.accumulate});
}

}  // namespace hebb::cuda
