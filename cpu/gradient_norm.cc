// norm = sqrt(sum of g^2), in double precision, summed in the order that hebb/gradient_norm.h lays down: threads take
// whole parts, so that neither their number nor the level changes a bit. A norm that is not finite ends the step before
// the optimizer.
#include "hebb/gradient_norm.h"

#include <cmath>

#include "cpu.h"
#include "level.h"

namespace hebb::cpu::HEBB_LEVEL {
namespace {

typedef double DoubleVec __attribute__((vector_size(8 * W)));

double sumOfLanes(double* lanes) {
  for (int apart = GradientNorm::kLanes / 2; apart > 0; apart /= 2) {
    for (int i = 0; i < apart; ++i) lanes[i] += lanes[i + apart];
  }
  return lanes[0];
}

/// The sum of the squares of part p of a gradient. A float's square is exact in double precision, so that no bit
/// depends on whether the processor fuses it with the addition.
double squaresOfPart(const float* gradient, int64_t count, int64_t p) {
  constexpr int kLanes = GradientNorm::kLanes, kBlock = GradientNorm::kBlock;
  DoubleVec sums[kLanes / W] = {};
  double lanes[kLanes];
  for (int64_t first = p * kBlock; first < count; first += int64_t{GradientNorm::kParts} * kBlock) {
    const int64_t end = first + kBlock < count ? first + kBlock : count;
    int64_t at = first;
    for (; at + kLanes <= end; at += kLanes) {
      for (int v = 0; v < kLanes / W; ++v) {
        const DoubleVec x = __builtin_convertvector(load(gradient + at + v * W), DoubleVec);
        sums[v] += x * x;
      }
    }
    if (at == end) continue;
    // The gradient's last elements: no block comes after them.
    __builtin_memcpy(lanes, sums, sizeof lanes);
    for (int i = 0; at + i < end; ++i) lanes[i] += static_cast<double>(gradient[at + i]) * gradient[at + i];
    return sumOfLanes(lanes);
  }
  __builtin_memcpy(lanes, sums, sizeof lanes);
  return sumOfLanes(lanes);
}

double squaresOf(Cpu& cpu, const GradientNorm::Part& part) {
  const int64_t count = part.count ? *part.count : part.capacity, parts = partsOf(count);
  cpu.partials.assign(static_cast<size_t>(parts), 0.0);
  const int64_t chunks = std::min(parts, chunksFor(cpu, count, 16384));
  cpu.team.parallel(chunks, [&](int64_t chunk, int) {
    for (int64_t p = parts * chunk / chunks; p < parts * (chunk + 1) / chunks; ++p)
      cpu.partials[static_cast<size_t>(p)] = squaresOfPart(part.gradient, count, p);
  });
  double lanes[GradientNorm::kLanes] = {};
  for (int64_t p = 0; p < parts; ++p) lanes[p % GradientNorm::kLanes] += cpu.partials[static_cast<size_t>(p)];
  return sumOfLanes(lanes);
}

}  // namespace

Status gradientNorm(Backend& backend, const GradientNorm& op) {
  double squares = 0;
  for (const GradientNorm::Part& part : op.gradients) squares += squaresOf(cpuOf(backend), part);
  const double norm = std::sqrt(squares) / op.lossScale;
  if (!std::isfinite(norm)) {
    if (op.totals) *op.totals = *op.previous;
    return {Code::nonFinite, "Expected a finite norm of the gradients, got " + std::to_string(std::abs(norm)) +
                                 " in step " + std::to_string(*op.step)};
  }
  *op.norm = norm;
  *op.scale = (op.maxNorm < norm ? op.maxNorm / norm : 1.0) / op.lossScale;
  return {};
}

}  // namespace hebb::cpu::HEBB_LEVEL
