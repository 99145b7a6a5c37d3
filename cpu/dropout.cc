// output = input / (1 - probability) where the draw keeps the element, else 0. A draw has the words of four
// neighbouring columns; sixteen are made side by side, in loops that compilers make vectors of. The gradient is this
// operation again, with the same draws.
#include "hebb/dropout.h"

#include <algorithm>

#include "cpu.h"
#include "level.h"

namespace hebb::cpu::HEBB_LEVEL {
namespace {

constexpr int kQuads = 16;  // draws of four words that are made side by side, in the lanes of vectors

/// The words of the draws (feature, quad + 0..15, step, purpose), one after the other.
void draw(uint64_t seed, uint32_t feature, uint32_t quad, uint32_t step, uint32_t purpose,
          uint32_t (&words)[4 * kQuads]) {
  uint32_t c0[kQuads], c1[kQuads], c2[kQuads], c3[kQuads];
  for (int q = 0; q < kQuads; ++q) {
    c0[q] = feature;
    c1[q] = quad + static_cast<uint32_t>(q);
    c2[q] = step;
    c3[q] = purpose;
  }
  uint32_t k0 = static_cast<uint32_t>(seed), k1 = static_cast<uint32_t>(seed >> 32);
  for (int round = 0; round < kPhiloxRounds; ++round) {
    for (int q = 0; q < kQuads; ++q) {
      const uint64_t p0 = uint64_t{kPhiloxMultiplier0} * c0[q], p1 = uint64_t{kPhiloxMultiplier1} * c2[q];
      c0[q] = static_cast<uint32_t>(p1 >> 32) ^ c1[q] ^ k0;
      c1[q] = static_cast<uint32_t>(p1);
      c2[q] = static_cast<uint32_t>(p0 >> 32) ^ c3[q] ^ k1;
      c3[q] = static_cast<uint32_t>(p0);
    }
    k0 += kPhiloxWeyl0;
    k1 += kPhiloxWeyl1;
  }
  for (int q = 0; q < kQuads; ++q) {
    words[4 * q] = c0[q];
    words[4 * q + 1] = c1[q];
    words[4 * q + 2] = c2[q];
    words[4 * q + 3] = c3[q];
  }
}

}  // namespace

Status dropout(Backend& backend, const Dropout& op) {
  Cpu& cpu = cpuOf(backend);
  const Activations& y = op.output;
  const int64_t chunks = chunksFor(cpu, int64_t{y.features} * y.panels(), 64);
  const uint32_t threshold = op.threshold(), step = static_cast<uint32_t>(*op.step),
                 purpose = purposeWord(kDropoutDraws, static_cast<uint32_t>(op.layer));
  const float scale = op.scale();
  const auto first = static_cast<uint32_t>(y.firstColumn());
  cpu.team.parallel(chunks, [&](int64_t chunk, int) {
    uint32_t words[4 * kQuads];
    for (int32_t p = 0; p < y.panels(); ++p) {
      const int32_t live = liveColumns(y, p);
      for (int64_t f = y.features * chunk / chunks, end = y.features * (chunk + 1) / chunks; f < end; ++f) {
        const float* const in = panelData(op.input, p) + f * y.panel;
        float* const out = panelData(y, p) + f * y.panel;
        for (int32_t c = 0; c < live; c += 4 * kQuads) {
          draw(op.seed, static_cast<uint32_t>(f), (first + static_cast<uint32_t>(p * y.panel + c)) / 4, step, purpose,
               words);
          const int32_t count = std::min(4 * kQuads, live - c);
          for (int32_t i = 0; i < count; ++i) {
            const float kept = words[i] >= threshold ? in[c + i] * scale : 0.f;
            out[c + i] = op.accumulate ? out[c + i] + kept : kept;
          }
        }
      }
    }
  });
  return {};
}

}  // namespace hebb::cpu::HEBB_LEVEL
