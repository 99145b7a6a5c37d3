// Some vectors of columns are normalised at once: passes over their features, each line of the panel read once a pass.
// Sums over features are taken in blocks, in the same order at every level.
#include "hebb/layer_norm.h"

#include <algorithm>

#include "pointwise.h"

namespace hebb::cpu::HEBB_LEVEL {
namespace {

constexpr int32_t kNormBlock = 64;  // features whose sum is taken by itself: rounding grows with the blocks alone

/// sums[i] = the sum of each of add(f, part) over the features. add() adds to `part`, which is as large.
template <int N, class Add>
HEBB_INLINE void sumOver(int32_t features, Vec (&sums)[N], const Add& add) {
  for (int i = 0; i < N; ++i) sums[i] = Vec{};
  for (int32_t begin = 0; begin < features; begin += kNormBlock) {
    Vec part[N];
    for (int i = 0; i < N; ++i) part[i] = Vec{};
    for (int32_t f = begin, end = std::min(features, begin + kNormBlock); f < end; ++f) add(f, part);
    for (int i = 0; i < N; ++i) sums[i] += part[i];
  }
}

}  // namespace

Status layerNorm(Backend& backend, const LayerNorm& op) {
  const int32_t features = op.input.features;
  const int64_t panel = op.input.panel;
  const Vec n = splat(static_cast<float>(features)), epsilon = splat(static_cast<float>(op.epsilon));
  eachColumns(cpuOf(backend), op.input, [&](auto vectors, int32_t p, int32_t column) {
    constexpr int NV = decltype(vectors)::value;
    const float* const x = panelData(op.input, p) + column;
    float* const y = panelData(op.output, p) + column;
    float* const statistics = panelData(op.statistics, p) + column;
    Vec mean[NV] = {}, scale[NV];
    if (!op.rms) {
      sumOver(features, mean, [&](int32_t f, Vec(&part)[NV]) {
        for (int i = 0; i < NV; ++i) part[i] += load(x + f * panel + i * W);
      });
      for (int i = 0; i < NV; ++i) mean[i] /= n;
    }
    sumOver(features, scale, [&](int32_t f, Vec(&part)[NV]) {
      for (int i = 0; i < NV; ++i) {
        const Vec d = load(x + f * panel + i * W) - mean[i];
        part[i] += d * d;
      }
    });
    for (int i = 0; i < NV; ++i) {
      scale[i] = splat(1.f) / squareRoot(scale[i] / n + epsilon);
      store(statistics + i * W, mean[i]);
      store(statistics + panel + i * W, scale[i]);
    }
    for (int32_t f = 0; f < features; ++f) {
      const Vec gain = splat(op.gain[f]), bias = op.bias ? splat(op.bias[f]) : Vec{};
      for (int i = 0; i < NV; ++i)
        store(y + f * panel + i * W, (load(x + f * panel + i * W) - mean[i]) * scale[i] * gain + bias);
    }
  });
  return {};
}

Status layerNormGradient(Backend& backend, const LayerNormGradient& op) {
  Cpu& cpu = cpuOf(backend);
  const int32_t features = op.input.features;
  const int64_t panel = op.input.panel;
  // First the parameters' gradients: the input's may take the place of what they are computed from.
  if (op.gainGradient || op.biasGradient) {
    const int64_t chunks = chunksFor(cpu, int64_t{features} * op.input.panels(), 64);
    cpu.team.parallel(chunks, [&](int64_t chunk, int) {
      for (int64_t f = features * chunk / chunks, end = features * (chunk + 1) / chunks; f < end; ++f) {
        Vec ofGain{}, ofBias{};
        for (int32_t p = 0; p < op.input.panels(); ++p) {
          const float *x = panelData(op.input, p) + f * panel, *dy = panelData(op.outputGradient, p) + f * panel,
                      *mean = panelData(op.statistics, p);
          for (int32_t c = 0, live = liveColumns(op.input, p); c < live; c += W) {
            const Vec g = load(dy + c);
            ofGain += g * ((load(x + c) - load(mean + c)) * load(mean + panel + c));
            ofBias += g;
          }
        }
        const Vec4 sums = sumLanes(ofGain, ofBias, Vec{}, Vec{});
        if (op.gainGradient) op.gainGradient[f] = op.accumulateGain ? op.gainGradient[f] + sums[0] : sums[0];
        if (op.biasGradient) op.biasGradient[f] = op.accumulateBias ? op.biasGradient[f] + sums[1] : sums[1];
      }
    });
  }
  if (!op.inputGradient.data) return {};
  const Vec n = splat(static_cast<float>(features));
  eachColumns(cpu, op.input, [&](auto vectors, int32_t p, int32_t column) {
    constexpr int NV = decltype(vectors)::value;
    const float *x = panelData(op.input, p) + column, *dy = panelData(op.outputGradient, p) + column,
                *statistics = panelData(op.statistics, p) + column;
    float* const dx = panelData(op.inputGradient, p) + column;
    Vec mean[NV], scale[NV], sums[2 * NV];  // of the gradient, and of its product with what is normal
    for (int i = 0; i < NV; ++i) {
      mean[i] = load(statistics + i * W);
      scale[i] = load(statistics + panel + i * W);
    }
    sumOver(features, sums, [&](int32_t f, Vec(&part)[2 * NV]) {
      const Vec gain = splat(op.gain[f]);
      for (int i = 0; i < NV; ++i) {
        const Vec gradient = load(dy + f * panel + i * W) * gain,
                  normal = (load(x + f * panel + i * W) - mean[i]) * scale[i];
        part[i] += gradient;
        part[NV + i] += gradient * normal;
      }
    });
    for (int i = 0; i < NV; ++i) sums[i] = op.rms ? Vec{} : sums[i] / n;
    for (int i = NV; i < 2 * NV; ++i) sums[i] /= n;
    for (int32_t f = 0; f < features; ++f) {
      const Vec gain = splat(op.gain[f]);
      for (int i = 0; i < NV; ++i) {
        const int64_t at = f * panel + i * W;
        const Vec gradient = load(dy + at) * gain, normal = (load(x + at) - mean[i]) * scale[i];
        Vec g = scale[i] * (gradient - sums[i] - normal * sums[NV + i]);
        if (op.accumulate) g += load(dx + at);
        store(dx + at, g);
      }
    }
  });
  return {};
}

}  // namespace hebb::cpu::HEBB_LEVEL
