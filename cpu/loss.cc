// Losses. A lane is a column (a sample), so no sum crosses lanes; sums over columns are taken in the order of the
// columns.
#include "hebb/loss.h"

#include <cmath>

#include "cpu.h"
#include "level.h"

namespace hebb::cpu::HEBB_LEVEL {
namespace {

/// e^x for x <= 0 (softmax subtracts the maximum first); relative error 2e-7. Below -87 the result is 0 for training's
/// purposes.
HEBB_INLINE Vec exponential(Vec x) {
  const Vec y = x * splat(1.44269504f);
  // The addition rounds to an integer in the low bits.
  const Vec shifted = (y < splat(-126.f) ? splat(-126.f) : y) + splat(12582912.f);
  const Vec whole = shifted - splat(12582912.f);
  const Vec f = mulAdd(x, splat(1.44269504f), splat(0.f) - whole);
  Vec p = splat(0.0001534579787403345f);
  p = mulAdd(p, f, splat(0.0013399930903688073f));
  p = mulAdd(p, f, splat(0.009618489071726799f));
  p = mulAdd(p, f, splat(0.05550328642129898f));
  p = mulAdd(p, f, splat(0.24022646248340607f));
  p = mulAdd(p, f, splat(0.6931471824645996f));
  p = mulAdd(p, f, splat(1.0f));
  const IntVec exponent = (__builtin_convertvector(whole, IntVec) + 127) << 23;
  const Vec result = p * (Vec)exponent;
  return y < splat(-126.f) ? Vec{} : (x != x ? x : result);
}

/// In training, a loss that is not finite ends the step, before it spoils the weights.
template <class Op>
Status addTotals(const Op& op, double loss, double correct, int32_t columns) {
  LossTotals* const totals = op.totals;
  if (!std::isfinite(loss) && op.gradient.data)
    return {Code::nonFinite,
            "Expected a finite loss, got " + std::to_string(loss) + " in step " + std::to_string(*op.step)};
  if (op.previous) *op.previous = *totals;
  if (!std::isfinite(loss) && totals->nonFiniteStep < 0) totals->nonFiniteStep = static_cast<double>(*op.step);
  totals->loss += loss;
  totals->correct += correct;
  totals->columns += columns;
  return {};
}

}  // namespace

Status softmaxCrossEntropy(Backend& backend, const SoftmaxCrossEntropy& op) {
  Cpu& cpu = cpuOf(backend);
  const Activations& z = op.logits;
  const int32_t columns = z.columns ? *z.columns : z.capacity;
  const int32_t blocks = (columns + W - 1) / W;
  cpu.partials.assign(static_cast<size_t>(blocks) * 2, 0.0);
  for (int32_t c = 0; c < columns; ++c) {
    if (op.targets[c] >= 0 && op.targets[c] < z.features) continue;
    return {Code::invalidArgument, "Expected targets in [0, " + std::to_string(z.features) + "), got " +
                                       std::to_string(op.targets[c]) + " in column " + std::to_string(c)};
  }
  const int64_t chunks = std::min<int64_t>(blocks, chunksFor(cpu, int64_t{blocks} * z.features, 512));
  cpu.team.parallel(chunks, [&](int64_t chunk, int) {
    for (int32_t b = static_cast<int32_t>(blocks * chunk / chunks); b < blocks * (chunk + 1) / chunks; ++b) {
      const int32_t column = b * W, p = column / z.panel;
      const float* in = panelData(z, p) + column % z.panel;
      const int32_t valid = std::min<int32_t>(W, columns - column);
      Vec top = load(in);
      IntVec best{};
      for (int32_t k = 1; k < z.features; ++k) {
        const Vec v = load(in + static_cast<int64_t>(k) * z.panel);
        const IntVec larger = v > top;
        top = larger ? v : top;
        best = larger ? (k - IntVec{}) : best;
      }
      Vec sum{};
      for (int32_t k = 0; k < z.features; ++k) sum += exponential(load(in + static_cast<int64_t>(k) * z.panel) - top);
      double loss = 0, correct = 0;
      for (int i = 0; i < valid; ++i) {
        const int32_t target = op.targets[column + i];
        loss += std::log(static_cast<double>(sum[i])) + top[i] - in[static_cast<int64_t>(target) * z.panel + i];
        correct += best[i] == target && sum[i] == sum[i];  // among NaN nothing is largest
      }
      cpu.partials[static_cast<size_t>(b) * 2] = loss;
      cpu.partials[static_cast<size_t>(b) * 2 + 1] = correct;
      if (!op.gradient.data) continue;
      float* out = panelData(op.gradient, p) + column % z.panel;
      Vec scale{};
      for (int i = 0; i < valid; ++i) scale[i] = 1.f / static_cast<float>(columns);
      const Vec factor = scale / sum;
      for (int32_t k = 0; k < z.features; ++k) {
        const Vec share = exponential(load(in + static_cast<int64_t>(k) * z.panel) - top) * factor;
        store(out + static_cast<int64_t>(k) * z.panel, scale > Vec{} ? share : Vec{});
      }
      for (int i = 0; i < valid; ++i) out[static_cast<int64_t>(op.targets[column + i]) * z.panel + i] -= scale[i];
      // Padding up to the next multiple of 16 has no gradient.
      for (int32_t c = column + W; b == blocks - 1 && c < (columns + 15) / 16 * 16; c += W) {
        for (int32_t k = 0; k < z.features; ++k)
          store(panelData(op.gradient, p) + static_cast<int64_t>(k) * z.panel + c % z.panel, Vec{});
      }
    }
  });
  double loss = 0, correct = 0;
  for (int32_t b = 0; b < blocks; ++b) {
    loss += cpu.partials[static_cast<size_t>(b) * 2];
    correct += cpu.partials[static_cast<size_t>(b) * 2 + 1];
  }
  return addTotals(op, loss, correct, columns);
}

Status meanSquaredError(Backend& backend, const MeanSquaredError& op) {
  Cpu& cpu = cpuOf(backend);
  const Activations& y = op.output;
  const int32_t columns = y.columns ? *y.columns : y.capacity;
  const float scale = 2.f / (static_cast<float>(columns) * static_cast<float>(y.features));
  cpu.partials.assign(static_cast<size_t>(y.features), 0.0);
  const int64_t chunks = std::min<int64_t>(y.features, chunksFor(cpu, int64_t{y.features} * columns, 16384));
  cpu.team.parallel(chunks, [&](int64_t chunk, int) {
    for (int64_t f = y.features * chunk / chunks; f < y.features * (chunk + 1) / chunks; ++f) {
      double sum = 0;
      for (int32_t p = 0; p * y.panel < columns; ++p) {
        const int32_t valid = columns - p * y.panel, live = std::min(y.panel, (valid + 15) / 16 * 16);
        const float *outputs = panelData(y, p) + f * y.panel, *targets = panelData(op.target, p) + f * y.panel;
        float* const gradients = op.gradient.data ? panelData(op.gradient, p) + f * y.panel : nullptr;
        for (int32_t c = 0; c < live; ++c) {
          const float difference = c < valid ? outputs[c] - targets[c] : 0.f;
          sum += static_cast<double>(difference) * difference;
          if (gradients) gradients[c] = scale * difference;
        }
      }
      cpu.partials[static_cast<size_t>(f)] = sum;
    }
  });
  double loss = 0;
  for (double part : cpu.partials) loss += part;
  return addTotals(op, loss / y.features, 0, columns);
}

}  // namespace hebb::cpu::HEBB_LEVEL
