#include "hebb/optimizer.h"

#include "cpu.h"
#include "level.h"

namespace hebb::cpu::HEBB_LEVEL {

Status sgd(Backend& backend, const Sgd& op) {
  Cpu& cpu = cpuOf(backend);
  const int64_t count = op.count ? *op.count : op.capacity, groups = (count + 3) / 4;
  const float rate = static_cast<float>(*op.rule.learningRate);
  const int64_t chunks = chunksFor(cpu, count, 8192);
  cpu.team.parallel(chunks, [&](int64_t chunk, int) {
    for (int64_t at = groups * chunk / chunks * 4, end = groups * (chunk + 1) / chunks * 4; at < end; at += 4) {
      const int n = count - at < 4 ? static_cast<int>(count - at) : 4;
      Vec4 g{};
      for (int i = 0; i < n; ++i) g[i] = op.gradient[at + i];
      sgdUpdate(op.rule, rate, at, g, n);
    }
  });
  return {};
}

}  // namespace hebb::cpu::HEBB_LEVEL
