// Pairs of features are turned, a vector of columns at a time. Bound by loads and stores, some 5 of them for two
// elements.
#include "hebb/rotate.h"

#include "cpu.h"
#include "level.h"

namespace hebb::cpu::HEBB_LEVEL {

Status rotate(Backend& backend, const Rotate& op) {
  Cpu& cpu = cpuOf(backend);
  const int32_t half = op.angles.features / 2, pairs = op.heads * half;
  const int64_t panel = op.output.panel;
  const int64_t chunks = chunksFor(cpu, int64_t{pairs} * op.output.panels(), 256);
  cpu.team.parallel(chunks, [&](int64_t chunk, int) {
    for (int32_t p = 0; p < op.output.panels(); ++p) {
      const int32_t live = liveColumns(op.output, p);
      for (int64_t k = pairs * chunk / chunks, end = pairs * (chunk + 1) / chunks; k < end; ++k) {
        const int64_t first = (k / half * 2 * half + k % half) * panel, second = first + half * panel;
        const float *x = panelData(op.input, p), *cosine = panelData(op.angles, p) + k % half * panel,
                    *sine = cosine + half * panel;
        float* const y = panelData(op.output, p);
        for (int32_t c = 0; c < live; c += W) {
          const Vec a = load(x + first + c), b = load(x + second + c), cos = load(cosine + c),
                    sin = op.back ? -load(sine + c) : load(sine + c);
          Vec u = a * cos - b * sin, v = b * cos + a * sin;
          if (op.accumulate) {
            u += load(y + first + c);
            v += load(y + second + c);
          }
          store(y + first + c, u);
          store(y + second + c, v);
        }
      }
    }
  });
  return {};
}

}  // namespace hebb::cpu::HEBB_LEVEL
