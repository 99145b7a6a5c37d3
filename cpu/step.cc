#include "hebb/step.h"

#include "cpu.h"

namespace hebb::cpu {
namespace {

/// A permutation of [0, 2^(2 * half)) : six Feistel rounds whose round function is Philox.
uint64_t feistel(uint64_t x, int half, uint64_t seed, uint32_t epoch) {
  const uint64_t mask = (uint64_t{1} << half) - 1;
  uint64_t left = x >> half, right = x & mask;
  for (uint32_t round = 0; round < 6; ++round) {
    const uint64_t f = philox(seed, static_cast<uint32_t>(right), round, epoch, purposeWord(Purpose::shuffle, 0)).word[0];
    const uint64_t next = (left ^ f) & mask;
    left = right;
    right = next;
  }
  return left << half | right;
}

}  // namespace

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
    s.columns = static_cast<int32_t>(left < s.batch ? left : s.batch);
    s.next += s.columns;
  }
  return {};
}

Status permute(Backend& backend, const Permute& op) {
  Cpu& cpu = cpuOf(backend);
  int half = 1;
  while ((int64_t{1} << (2 * half)) < op.count) ++half;
  const uint32_t epoch = op.epoch ? static_cast<uint32_t>(*op.epoch) : 0;
  const int64_t chunks = chunksFor(cpu, op.count, 256);
  cpu.team.parallel(chunks, [&](int64_t chunk, int) {
    for (int64_t i = op.count * chunk / chunks; i < op.count * (chunk + 1) / chunks; ++i) {
      uint64_t x = static_cast<uint64_t>(i);
      if (!op.identity) {
        do x = feistel(x, half, op.seed, epoch);
        while (x >= static_cast<uint64_t>(op.count));
      }
      op.indices[i] = static_cast<int32_t>(x);
    }
  });
  return {};
}

}  // namespace hebb::cpu
