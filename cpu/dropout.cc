// output = input / (1 - probability) where the draw keeps the element, else 0. A draw has the bits of eight
// neighbouring columns; a vector's worth of them is made at once. The gradient is this operation again, with the same
// draws. Bound by the draws' arithmetic, some three instructions an element.
#include "hebb/dropout.h"

#include <algorithm>
#include <cstring>

#include "cpu.h"
#include "level.h"

namespace hebb::cpu::HEBB_LEVEL {
namespace {

constexpr int32_t kDrawn = 8 * W;  // columns of a vector of draws

/// Some of them that lie in one panel: `count` columns from the first one drawn + `from` on.
struct Piece {
  const float* input;
  float* output;
  int32_t from, count;
};

}  // namespace

Status dropout(Backend& backend, const Dropout& op) {
  Cpu& cpu = cpuOf(backend);
  const Activations& y = op.output;
  const int32_t columns = (y.columns() + 15) / 16 * 16, features = y.features;
  const int64_t blocks = (columns + kDrawn - 1) / kDrawn, rows = blocks * features;
  const int64_t chunks = chunksFor(cpu, rows, 64);
  const uint32_t step = static_cast<uint32_t>(*op.step),
                 purpose = purposeWord(kDropoutDraws, static_cast<uint32_t>(op.layer));
  const Chance loss = op.loss();
  const auto threshold = static_cast<int32_t>(loss.threshold);
  const Vec scale = splat(loss.inverseOfRest());
  UintVec lane;
  for (int i = 0; i < W; ++i) lane[i] = static_cast<uint32_t>(i);
  cpu.team.parallel(chunks, [&](int64_t chunk, int) {
    const int64_t end = rows * (chunk + 1) / chunks;
    for (int64_t row = rows * chunk / chunks; row < end;) {
      const auto begin = static_cast<int32_t>(row / features * kDrawn), stop = std::min(columns, begin + kDrawn);
      Piece pieces[kDrawn / 16];
      int count = 0;
      for (int32_t c = begin; c < stop; c += pieces[count++].count) {
        const int32_t p = c / y.panel, at = c % y.panel;
        pieces[count] = {panelData(op.input, p) + at, panelData(y, p) + at, c - begin,
                         std::min(stop - c, y.panel - at)};
      }
      const UintVec draws = lane + (static_cast<uint32_t>(y.firstColumn()) + static_cast<uint32_t>(begin)) / 8;
      const int64_t last = std::min(end, (row / features + 1) * features);
      for (int64_t f = row % features; row < last; ++row, ++f) {
        UintVec words[4], ofElements[4];
        PhiloxRow(op.seed, static_cast<uint32_t>(f), step, purpose).words(draws, words);
        inOrder(words, ofElements);
        uint16_t bits[kDrawn];
        std::memcpy(bits, ofElements, sizeof bits);
        for (int i = 0; i < count; ++i) {
          const Piece& piece = pieces[i];
          const float* const in = piece.input + f * y.panel;
          float* const out = piece.output + f * y.panel;
          for (int32_t c = 0; c < piece.count; c += W) {
            const Vec x = load(in + c) * scale;
            const Vec kept = (Vec)((IntVec)x & (loadHalves(bits + piece.from + c) >= threshold));
            store(out + c, op.accumulate ? load(out + c) + kept : kept);
          }
        }
      }
    }
  });
  return {};
}

}  // namespace hebb::cpu::HEBB_LEVEL
