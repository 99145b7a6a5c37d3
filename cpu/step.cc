#include "hebb/step.h"

#include "cpu.h"

namespace hebb::cpu {

Status advance(Backend&, const Advance& op) {
  StepState& s = *op.state;
  ++s.step;
  int64_t row = s.step - s.firstStep;
  if (row >= s.rows) row = s.rows - 1;
  if (row < 0) row = 0;
  for (int32_t i = 0; i < op.width; ++i) op.scalars[i] = op.table[row * op.width + i];
  if (s.samples > 0) {
    if (s.next >= s.samples) s.next = 0;
    s.offset = s.next;
    const int64_t left = s.samples - s.next;
    s.axis.columns = s.axis.whole = static_cast<int32_t>(left < s.batch ? left : s.batch);
    s.next += s.axis.columns;
  }
  return {};
}

Status takePart(Backend&, const TakePart& op) {
  *op.axis = partOf(*op.whole, op.first, op.capacity);
  return {};
}

Status permute(Backend& backend, const Permute& op) {
  Cpu& cpu = cpuOf(backend);
  const int half = permutationHalf(op.count);
  const uint32_t epoch = op.epoch ? static_cast<uint32_t>(*op.epoch) : 0;
  const int64_t chunks = chunksFor(cpu, op.count, 256);
  cpu.team.parallel(chunks, [&](int64_t chunk, int) {
    for (int64_t i = op.count * chunk / chunks; i < op.count * (chunk + 1) / chunks; ++i) {
      const uint64_t x = static_cast<uint64_t>(i);
      op.indices[i] =
          static_cast<int32_t>(op.identity ? x : permuted(x, static_cast<uint64_t>(op.count), half, op.seed, epoch));
    }
  });
  return {};
}

}  // namespace hebb::cpu
