// Dropout, eight columns a thread: one draw of Philox has their bits. Bound by memory, 8 bytes an element (12 when it
// accumulates), beside about 10 integer operations. The bits are the CPU's.
#include "hebb/dropout.h"

#include "pointwise.cuh"

namespace hebb::cuda {
namespace {

struct Drop {
  Panels<const float> input;
  Panels<float> output;
  uint64_t seed;
  const int64_t* step;
  const Axis* axis;
  int32_t panel;
  Chance loss;
  uint32_t purpose;
  float scale;
  bool accumulate;
  __device__ __forceinline__ void at(int32_t p, int64_t i) const {
    const auto feature = static_cast<uint32_t>(i / panel),
               column = static_cast<uint32_t>((axis ? axis->first : 0) + p * panel + i % panel);
    const Philox draw = philox(seed, feature, column / 8, static_cast<uint32_t>(*step), purpose);
    four(input.at(p, i), draw.word[0], draw.word[1], output.at(p, i));
    four(input.at(p, i + 4), draw.word[2], draw.word[3], output.at(p, i + 4));
  }
  __device__ __forceinline__ void four(const float* from, uint32_t first, uint32_t second, float* to) const {
    const float4 x = load4(from);
    float4 y = make_float4(kept(x.x, first & 0xFFFFu), kept(x.y, first >> 16), kept(x.z, second & 0xFFFFu),
                           kept(x.w, second >> 16));
    if (accumulate) y = each4([](float g, float sum) { return sum + g; }, y, load4(to));
    store4(to, y);
  }
  __device__ __forceinline__ float kept(float x, uint32_t bits) const {
    return bits >= loss.threshold ? x * scale : 0.f;
  }
};

}  // namespace

Status dropout(Backend& backend, const Dropout& op) {
  const Chance loss = op.loss();
  return each<8>(
      cudaOf(backend), "dropout", op.output,
      Drop{Panels<const float>(op.input), Panels<float>(op.output), op.seed, op.step, op.output.axis, op.output.panel,
           loss, purposeWord(kDropoutDraws, static_cast<uint32_t>(op.layer)), loss.inverseOfRest(), op.accumulate});
}

}  // namespace hebb::cuda
