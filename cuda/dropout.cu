// Dropout, four columns a thread: one draw of Philox gives their four words. Bound by memory, 8 bytes an element (12
// when it accumulates), beside about 20 integer operations. The bits are the CPU's.
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
  uint32_t threshold, purpose;
  float scale;
  bool accumulate;
  __device__ __forceinline__ void at(int32_t p, int64_t i) const {
    const auto feature = static_cast<uint32_t>(i / panel),
               column = static_cast<uint32_t>((axis ? axis->first : 0) + p * panel + i % panel);
    const Philox draw = philox(seed, feature, column / 4, static_cast<uint32_t>(*step), purpose);
    const float4 x = load4(input.at(p, i));
    float4 y =
        make_float4(draw.word[0] >= threshold ? x.x * scale : 0.f, draw.word[1] >= threshold ? x.y * scale : 0.f,
                    draw.word[2] >= threshold ? x.z * scale : 0.f, draw.word[3] >= threshold ? x.w * scale : 0.f);
    float* const to = output.at(p, i);
    if (accumulate) y = each4([](float g, float sum) { return sum + g; }, y, load4(to));
    store4(to, y);
  }
};

}  // namespace

Status dropout(Backend& backend, const Dropout& op) {
  return each(
      cudaOf(backend), "dropout", op.output,
      Drop{Panels<const float>(op.input), Panels<float>(op.output), op.seed, op.step, op.output.axis, op.output.panel,
           op.threshold(), purposeWord(kDropoutDraws, static_cast<uint32_t>(op.layer)), op.scale(), op.accumulate});
}

}  // namespace hebb::cuda
