// output = input / (1 - probability) where the draw keeps the element, else 0. A draw has the words of four
// neighbouring columns; a vector's worth of them is made at once. The gradient is this operation again, with the same
// draws. Bound by the draws' arithmetic, some five instructions an element.
#include "hebb/dropout.h"

#include "cpu.h"
#include "level.h"

namespace hebb::cpu::HEBB_LEVEL {

Status dropout(Backend& backend, const Dropout& op) {
  Cpu& cpu = cpuOf(backend);
  const Activations& y = op.output;
  const int64_t chunks = chunksFor(cpu, int64_t{y.features} * y.panels(), 64);
  const uint32_t threshold = op.threshold(), step = static_cast<uint32_t>(*op.step),
                 purpose = purposeWord(kDropoutDraws, static_cast<uint32_t>(op.layer));
  const Vec scale = splat(op.scale());
  const auto first = static_cast<uint32_t>(y.firstColumn());
  UintVec lane;
  for (int i = 0; i < W; ++i) lane[i] = static_cast<uint32_t>(i);
  cpu.team.parallel(chunks, [&](int64_t chunk, int) {
    const int64_t begin = y.features * chunk / chunks, end = y.features * (chunk + 1) / chunks;
    for (int64_t f = begin; f < end; ++f) {
      const PhiloxRow row(op.seed, static_cast<uint32_t>(f), step, purpose);
      for (int32_t p = 0; p < y.panels(); ++p) {
        const int32_t live = liveColumns(y, p);
        const float* const in = panelData(op.input, p) + f * y.panel;
        float* const out = panelData(y, p) + f * y.panel;
        for (int32_t c = 0; c < live; c += 4 * W) {
          UintVec words[4], ofElements[4];
          row.words(lane + (first + static_cast<uint32_t>(p * y.panel + c)) / 4, words);
          inOrder(words, ofElements);
          for (int i = 0; i < 4; ++i) {
            const int32_t at = c + i * W;
            if (at >= live) break;
            const Vec x = load(in + at) * scale;
            const Vec kept = (Vec)((IntVec)x & (ofElements[i] >= threshold));
            store(out + at, op.accumulate ? load(out + at) + kept : kept);
          }
        }
      }
    }
  });
  return {};
}

}  // namespace hebb::cpu::HEBB_LEVEL
