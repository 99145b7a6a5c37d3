#include "hebb/optimizer.h"

#include "cpu.h"
#include "level.h"

namespace hebb::cpu::HEBB_LEVEL {

Status sgd(Backend& backend, const Sgd& op) {
  Cpu& cpu = cpuOf(backend);
  const int64_t count = op.count ? *op.count : op.capacity;
  const float rate = static_cast<float>(*op.rule.learningRate);
  const int64_t chunks = chunksFor(cpu, count, 4096);
  cpu.team.parallel(chunks, [&](int64_t chunk, int) {
    const int64_t begin = count * chunk / chunks, end = count * (chunk + 1) / chunks;
    sgdRange(op.rule, rate, op.gradient + begin, begin, end);
  });
  return {};
}

}  // namespace hebb::cpu::HEBB_LEVEL
