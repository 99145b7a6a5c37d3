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
/// it. Where each has its own, most are equal, as those of dense parameters are: corrections are computed where a
/// vector's counts are not those of the one before.
template <bool SharedSteps>
void adamRange(const Adam& op, const AdamFactors& factors, float rate, float scale, int64_t begin, int64_t end) {
  Vec steps = splat(SharedSteps ? *op.steps + 1.f : 1.f);
  AdamCorrections<Vec> corrections(factors, steps);
  int64_t at = begin;
  for (; at + W <= end; at += W) {
    if constexpr (!SharedSteps) {
      const Vec own = load(op.steps + at) + splat(1.f);
      if (lanesOf(own != steps)) corrections = AdamCorrections<Vec>(factors, own);
      steps = own;
      store(op.steps + at, own);
    }
    Vec value = load(op.values + at), first = load(op.firstMoment + at), second = load(op.secondMoment + at);
    adamStep(factors, rate, corrections, load(op.gradient + at) * splat(scale), value, first, second);
    store(op.values + at, value);
    store(op.firstMoment + at, first);
    store(op.secondMoment + at, second);
  }
  for (; at < end; ++at) {
    float own = op.steps[SharedSteps ? 0 : at];
    adamStep(factors, rate, op.gradient[at] * scale, op.values[at], op.firstMoment[at], op.secondMoment[at], own);
    if (!SharedSteps) op.steps[at] = own;
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
