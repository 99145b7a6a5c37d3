#include "hebb/optimizer.h"

#include "cpu.h"
#include "hebb/adam.h"
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

namespace {

/// Adam on the parameters [begin, end).
void adamRange(const Adam& op, const AdamFactors& factors, float rate, int64_t begin, int64_t end) {
  int64_t at = begin;
  for (; at + W <= end; at += W) {
    Vec value = load(op.values + at), first = load(op.firstMoment + at), second = load(op.secondMoment + at),
        steps = load(op.steps + at);
    adamStep(factors, rate, load(op.gradient + at), value, first, second, steps);
    store(op.values + at, value);
    store(op.firstMoment + at, first);
    store(op.secondMoment + at, second);
    store(op.steps + at, steps);
  }
  for (; at < end; ++at)
    adamStep(factors, rate, op.gradient[at], op.values[at], op.firstMoment[at], op.secondMoment[at], op.steps[at]);
}

}  // namespace

Status adam(Backend& backend, const Adam& op) {
  Cpu& cpu = cpuOf(backend);
  const int64_t count = op.count ? *op.count : op.capacity;
  const float rate = static_cast<float>(*op.learningRate);
  const AdamFactors factors(op);
  const int64_t chunks = chunksFor(cpu, count, 4096);
  cpu.team.parallel(chunks, [&](int64_t chunk, int) {
    adamRange(op, factors, rate, count * chunk / chunks, count * (chunk + 1) / chunks);
  });
  return {};
}

}  // namespace hebb::cpu::HEBB_LEVEL
