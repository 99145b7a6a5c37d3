// Losses. A lane is a column (a sample), so no sum crosses lanes; sums over columns are taken in the order of the
// columns. Of many classes, the logits come from far: softmax reads them twice, some vectors of columns at a time, and
// so whole lines. Its largest logit and its sum are found together, block by block of classes, the sum so far made
// smaller where a larger logit is found.
#include "hebb/loss.h"

#include <cmath>

#include "pointwise.h"

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

constexpr int32_t kClasses = 64;  // of a block, which stays near while it is read twice

typedef double DoubleVec __attribute__((vector_size(8 * W)));

/// Sums over columns.
struct Sums {
  double loss = 0, correct = 0, weight = 0;

  void add(const Sums& other) {
    loss += other.loss;
    correct += other.correct;
    weight += other.weight;
  }
};

/// What the gradient of a column of weight 1 is multiplied by: where columns are weighed, in double precision, as the
/// weights may be as small as numbers are.
double shareOf(const LossColumns& columns, int32_t whole, float of) {
  if (!columns.count) return whole > 0 ? of / static_cast<float>(whole) * columns.lossScale : 0;
  return *columns.count > 0 ? of / *columns.count * columns.lossScale : 0;
}

/// In training, a loss that is not finite ends the step, before it spoils the weights, and the sums are as they were
/// before the step.
Status addTotals(const LossColumns& columns, bool isTraining, const Sums& sums) {
  LossTotals* const totals = columns.totals;
  const bool isFinite = std::isfinite(sums.loss);
  if (!isFinite && isTraining) {
    if (columns.previous) *totals = *columns.previous;
    return {Code::nonFinite,
            "Expected a finite loss, got " + std::to_string(sums.loss) + " in step " + std::to_string(*columns.step)};
  }
  if (!isFinite && totals->nonFiniteStep < 0) totals->nonFiniteStep = static_cast<double>(*columns.step);
  totals->loss += sums.loss;
  totals->correct += sums.correct;
  totals->weight += sums.weight;
  return {};
}

/// Of the logits of NV vectors of columns.
template <int NV>
struct Logits {
  Vec top[NV];          // the largest
  IntVec best[NV];      // its class, the first one of several
  Vec sum[NV];          // of e^(logit - top)
  DoubleVec below[NV];  // of logit - top, without the padding's: 0 or less

  HEBB_INLINE void read(const float* in, int64_t panel, int32_t features, int32_t paddingClass, bool smooths) {
    for (int i = 0; i < NV; ++i) {
      top[i] = load(in + i * W);
      best[i] = IntVec{};
      sum[i] = Vec{};
      below[i] = DoubleVec{};
    }
    int32_t counted = 0;
    for (int32_t begin = 0, end; begin < features; begin = end) {
      end = std::min(features, begin + kClasses);
      Vec before[NV], shift[NV], part[NV];
      for (int i = 0; i < NV; ++i) before[i] = top[i];
      for (int32_t k = begin; k < end; ++k) {
        for (int i = 0; i < NV; ++i) {
          const Vec v = load(in + k * panel + i * W);
          const IntVec larger = v > top[i];
          top[i] = larger ? v : top[i];
          best[i] = larger ? (k - IntVec{}) : best[i];
        }
      }
      for (int i = 0; i < NV; ++i) {
        sum[i] = sum[i] == Vec{} ? Vec{} : sum[i] * exponential(before[i] - top[i]);
        shift[i] = top[i] == splat(-INFINITY) ? Vec{} : top[i];  // then all are impossible: their powers are 0
        part[i] = Vec{};
        if (smooths && counted > 0) below[i] += counted * __builtin_convertvector(before[i] - top[i], DoubleVec);
      }
      for (int32_t k = begin; k < end; ++k) {
        const bool counts = smooths && k != paddingClass;
        counted += counts;
        for (int i = 0; i < NV; ++i) {
          const Vec v = load(in + k * panel + i * W) - shift[i];
          sum[i] += exponential(v);
          if (counts) part[i] += v;
        }
      }
      for (int i = 0; i < NV; ++i) below[i] += __builtin_convertvector(part[i], DoubleVec);
    }
  }
};

}  // namespace

Status softmaxCrossEntropy(Backend& backend, const SoftmaxCrossEntropy& op) {
  Cpu& cpu = cpuOf(backend);
  const Activations& z = op.logits;
  const int32_t columns = z.columns(), first = z.firstColumn(), features = z.features;
  const int32_t blocks = (columns + W - 1) / W;
  const int32_t* const targets = op.targets + first;
  const float* const weights = op.columns.weights ? op.columns.weights + first : nullptr;
  const double columnShare = shareOf(op.columns, z.wholeBatch(), 1);
  const bool smooths = op.labelSmoothing > 0;
  std::vector<Sums> parts(static_cast<size_t>(blocks));
  for (int32_t c = 0; c < columns; ++c) {
    if ((targets[c] >= 0 && targets[c] < features) || targets[c] == op.ignore) continue;
    if (op.columns.previous) *op.columns.totals = *op.columns.previous;
    return {Code::invalidArgument, "Expected targets in [0, " + std::to_string(features) + "), got " +
                                       std::to_string(targets[c]) + " in column " + std::to_string(first + c)};
  }
  eachColumns(cpu, z, [&](auto vectors, int32_t p, int32_t c) {
    constexpr int NV = decltype(vectors)::value;
    const float* const in = panelData(z, p) + c;
    const int64_t panel = z.panel;
    Logits<NV> of;
    of.read(in, panel, features, op.paddingClass, smooths);
    Vec scale[NV], smoothed[NV], aboveSmoothed[NV];  // weight / count, and that times the parts of q
    for (int v = 0; v < NV; ++v) {
      scale[v] = smoothed[v] = aboveSmoothed[v] = Vec{};
      const int32_t column = p * z.panel + c + v * W;
      if (column >= columns) continue;
      Sums& sums = parts[static_cast<size_t>(column / W)];
      for (int i = 0; i < std::min(W, columns - column); ++i) {
        const int32_t target = targets[column + i];
        const float weight = target == op.ignore ? 0.f : weights ? weights[column + i] : 1.f;
        if (weight == 0.f) continue;
        const float hit = in[target * panel + v * W + i], sum = of.sum[v][i], top = of.top[v][i];
        double loss = std::log(static_cast<double>(sum));
        if (smooths)
          loss -= op.aboveSmoothed(target) * (static_cast<double>(hit) - top) + op.smoothed(target) * of.below[v][i];
        else loss = loss + top - hit;
        sums.loss += weight * loss;
        if (of.best[v][i] == target && sum == sum) sums.correct += weight;  // among NaN nothing is largest
        sums.weight += weight;
        scale[v][i] = static_cast<float>(weight * columnShare);
        smoothed[v][i] = static_cast<float>(weight * columnShare * op.smoothed(target));
        aboveSmoothed[v][i] = static_cast<float>(weight * columnShare * op.aboveSmoothed(target));
      }
    }
    if (!op.gradient.data) return;
    float* const out = panelData(op.gradient, p) + c;
    Vec factor[NV];
    for (int v = 0; v < NV; ++v) factor[v] = scale[v] / of.sum[v];
    for (int32_t k = 0; k < features; ++k) {
      for (int v = 0; v < NV; ++v) {
        const Vec share = exponential(load(in + k * panel + v * W) - of.top[v]) * factor[v];
        const Vec rest = k == op.paddingClass ? share : share - smoothed[v];
        store(out + k * panel + v * W, scale[v] != Vec{} ? rest : Vec{});
      }
    }
    for (int v = 0; v < NV; ++v) {
      for (int i = 0; i < W; ++i) {
        if (scale[v][i] != 0.f) out[targets[p * z.panel + c + v * W + i] * panel + v * W + i] -= aboveSmoothed[v][i];
      }
    }
  });
  Sums sums;
  for (const Sums& part : parts) sums.add(part);
  return addTotals(op.columns, op.gradient.data != nullptr, sums);
}

Status meanSquaredError(Backend& backend, const MeanSquaredError& op) {
  Cpu& cpu = cpuOf(backend);
  const Activations& y = op.output;
  const int32_t columns = y.columns();
  const float* const weights = op.columns.weights ? op.columns.weights + y.firstColumn() : nullptr;
  const double* const count = op.columns.count;
  const float whole = static_cast<float>(y.wholeBatch()), features = static_cast<float>(y.features);
  const double share = count       ? shareOf(op.columns, 0, 2.f) / features
                       : whole > 0 ? 2.f / (whole * features) * op.columns.lossScale
                                   : 0;
  const auto scale = static_cast<float>(share);
  cpu.partials.assign(static_cast<size_t>(y.features), 0.0);
  const int64_t chunks = std::min<int64_t>(y.features, chunksFor(cpu, int64_t{y.features} * columns, 16384));
  cpu.team.parallel(chunks, [&](int64_t chunk, int) {
    for (int64_t f = y.features * chunk / chunks; f < y.features * (chunk + 1) / chunks; ++f) {
      double sum = 0;
      for (int32_t p = 0; p * y.panel < columns; ++p) {
        const int32_t valid = columns - p * y.panel, live = std::min(y.panel, (valid + 15) / 16 * 16);
        const float *outputs = panelData(y, p) + f * y.panel, *targets = panelData(op.target, p) + f * y.panel;
        float* const gradients = op.gradient.data ? panelData(op.gradient, p) + f * y.panel : nullptr;
        if (!weights) {
          for (int32_t c = 0; c < live; ++c) {
            const float difference = c < valid ? outputs[c] - targets[c] : 0.f;
            sum += static_cast<double>(difference) * difference;
            if (gradients) gradients[c] = scale * difference;
          }
          continue;
        }
        for (int32_t c = 0; c < live; ++c) {
          const float weight = c < valid ? weights[p * y.panel + c] : 0.f;
          const float difference = weight != 0.f ? outputs[c] - targets[c] : 0.f;
          sum += static_cast<double>(weight) * difference * difference;
          if (gradients) gradients[c] = static_cast<float>(weight * share) * difference;
        }
      }
      cpu.partials[static_cast<size_t>(f)] = sum;
    }
  });
  Sums sums;
  for (double part : cpu.partials) sums.loss += part;
  sums.loss /= y.features;
  for (int32_t c = 0; c < columns; ++c) sums.weight += weights ? weights[c] : 1.f;
  return addTotals(op.columns, op.gradient.data != nullptr, sums);
}

Status noteTotals(Backend&, const NoteTotals& op) {
  *op.previous = *op.totals;
  return {};
}

Status sumWeights(Backend&, const SumWeights& op) {
  double sum = 0;
  for (int32_t c = 0; c < op.count(); ++c) sum += op.weightOf(c);
  *op.sum = sum;
  return {};
}

}  // namespace hebb::cpu::HEBB_LEVEL
