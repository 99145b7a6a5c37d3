// A vector of columns is normalised by itself: passes over its features, each line of the panel read once a pass. Sums
// over features are taken in blocks, in the same order at every level.
#include "hebb/layer_norm.h"

#include <algorithm>

#include "cpu.h"
#include "level.h"

namespace hebb::cpu::HEBB_LEVEL {
namespace {

constexpr int32_t kNormBlock = 64;  // features whose sum is taken by itself: rounding grows with the blocks alone

/// The sum of of(f) over the features.
template <class F>
HEBB_INLINE Vec sumOver(int32_t features, const F& of) {
  Vec sum{};
  for (int32_t begin = 0; begin < features; begin += kNormBlock) {
    Vec part{};
    for (int32_t f = begin, end = std::min(features, begin + kNormBlock); f < end; ++f) part += of(f);
    sum += part;
  }
  return sum;
}

/// Calls body(panel, column) for every vector of live columns.
template <class Body>
void eachColumnVector(Cpu& cpu, const Activations& a, const Body& body) {
  const int64_t ofPanel = a.panel / W, vectors = ofPanel * a.panels();
  const int64_t chunks = std::min(vectors, chunksFor(cpu, int64_t{a.features} * vectors, 512));
  cpu.team.parallel(chunks, [&](int64_t chunk, int) {
    for (int64_t v = vectors * chunk / chunks, end = vectors * (chunk + 1) / chunks; v < end; ++v) {
      const auto p = static_cast<int32_t>(v / ofPanel), column = static_cast<int32_t>(v % ofPanel) * W;
      if (column < liveColumns(a, p)) body(p, column);
    }
  });
}

}  // namespace

Status layerNorm(Backend& backend, const LayerNorm& op) {
  const int32_t features = op.input.features;
  const int64_t panel = op.input.panel;
  const Vec n = splat(static_cast<float>(features)), epsilon = splat(static_cast<float>(op.epsilon));
  eachColumnVector(cpuOf(backend), op.input, [&](int32_t p, int32_t column) {
    const float* const x = panelData(op.input, p) + column;
    float* const y = panelData(op.output, p) + column;
    float* const statistics = panelData(op.statistics, p) + column;
    const Vec mean = op.rms ? Vec{} : sumOver(features, [&](int32_t f) { return load(x + f * panel); }) / n;
    const Vec squares = sumOver(features, [&](int32_t f) {
      const Vec d = load(x + f * panel) - mean;
      return d * d;
    });
    const Vec scale = splat(1.f) / squareRoot(squares / n + epsilon);
    store(statistics, mean);
    store(statistics + panel, scale);
    for (int32_t f = 0; f < features; ++f) {
      const Vec normal = (load(x + f * panel) - mean) * scale * splat(op.gain[f]);
      store(y + f * panel, op.bias ? normal + splat(op.bias[f]) : normal);
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
  eachColumnVector(cpu, op.input, [&](int32_t p, int32_t column) {
    const float *x = panelData(op.input, p) + column, *dy = panelData(op.outputGradient, p) + column,
                *statistics = panelData(op.statistics, p) + column;
    float* const dx = panelData(op.inputGradient, p) + column;
    const Vec mean = load(statistics), scale = load(statistics + panel);
    const auto gradient = [&](int32_t f) { return load(dy + f * panel) * splat(op.gain[f]); };
    const auto normal = [&](int32_t f) { return (load(x + f * panel) - mean) * scale; };
    const Vec ofGradient = op.rms ? Vec{} : sumOver(features, gradient) / n,
              ofProduct = sumOver(features, [&](int32_t f) { return gradient(f) * normal(f); }) / n;
    for (int32_t f = 0; f < features; ++f) {
      Vec g = scale * (gradient(f) - ofGradient - normal(f) * ofProduct);
      if (op.accumulate) g += load(dx + f * panel);
      store(dx + f * panel, g);
    }
  });
  return {};
}

}  // namespace hebb::cpu::HEBB_LEVEL
