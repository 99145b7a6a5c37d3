// SGD and Adam over a parameter's arrays. SGD runs here only where fusion has not taken it into the product that writes
// its gradient (engine/fusion.cc).
#include "hebb/optimizer.h"

#include "cpu.h"
#include "hebb/adam.h"
#include "level.h"

namespace hebb::cpu::HEBB_LEVEL {
namespace {

float scaleOf(const double* scale) { return scale ? static_cast<float>(*scale) : 1.f; }

}  // namespace

Status sgd(Backend& backend, const Sgd& op) {
  Cpu& cpu = cpuOf(backend);
  const int64_t count = op.count ? *op.count : op.capacity;
  const float rate = static_cast<float>(*op.rule.learningRate), scale = scaleOf(op.scale);
  const int64_t chunks = chunksFor(cpu, count, 4096);
  cpu.team.parallel(chunks, [&](int64_t chunk, int) {
    const int64_t begin = count * chunk / chunks, end = count * (chunk + 1) / chunks;
    sgdRange(op.rule, rate, op.gradient + begin, begin, end, scale);
  });
  return {};
}

namespace {

/// Adam on the parameters [begin, end). A count of steps that all share is read here, and counted when all have read
/// it.
template <bool SharedSteps>
void adamRange(const Adam& op, const AdamFactors& factors, float rate, float scale, int64_t begin, int64_t end) {
  const float shared = SharedSteps ? *op.steps + 1.f : 1.f;
  const AdamCorrections<Vec> ofVector(factors, splat(shared));
  const AdamCorrections<float> ofOne(factors, shared);
  int64_t at = begin;
  for (; at + W <= end; at += W) {
    Vec value = load(op.values + at), first = load(op.firstMoment + at), second = load(op.secondMoment + at);
    const Vec gradient = load(op.gradient + at) * splat(scale);
    if constexpr (SharedSteps) {
      adamStep(factors, rate, ofVector, gradient, value, first, second);
    } else {
      Vec steps = load(op.steps + at);
      adamStep(factors, rate, gradient, value, first, second, steps);
      store(op.steps + at, steps);
    }
    store(op.values + at, value);
    store(op.firstMoment + at, first);
    store(op.secondMoment + at, second);
  }
  for (; at < end; ++at) {
    const float gradient = op.gradient[at] * scale;
    float &value = op.values[at], &first = op.firstMoment[at], &second = op.secondMoment[at];
    if constexpr (SharedSteps) adamStep(factors, rate, ofOne, gradient, value, first, second);
    else adamStep(factors, rate, gradient, value, first, second, op.steps[at]);
  }
}

}  // namespace

Status adam(Backend& backend, const Adam& op) {
  Cpu& cpu = cpuOf(backend);
  const int64_t count = op.count ? *op.count : op.capacity;
  const float rate = static_cast<float>(*op.learningRate), scale = scaleOf(op.scale);
  const AdamFactors factors(op);
  const int64_t chunks = chunksFor(cpu, count, 4096);
  cpu.team.parallel(chunks, [&](int64_t chunk, int) {
    const int64_t begin = count * chunk / chunks, end = count * (chunk + 1) / chunks;
    if (op.sharedSteps) adamRange<true>(op, factors, rate, scale, begin, end);
    else adamRange<false>(op, factors, rate, scale, begin, end);
  });
  if (op.sharedSteps) *op.steps += 1.f;
  return {};
}

}  // namespace hebb::cpu::HEBB_LEVEL
