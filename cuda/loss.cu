// Losses: a block sums its part of the batch in double precision, a second kernel of one block adds the parts and looks
// at the result. Where one block holds the whole batch it does both. The order of summation depends on the shapes
// alone.
//
// softmaxCrossEntropy: a thread is a column, and up to 32 classes are its own (variant 1, the CPU's order of summation:
// its gradients have the CPU's bits at the levels that fuse multiply and add). With more classes eight threads share a
// column, each with every eighth class, and combine what they have through shared memory (variant 8: the sum in the
// denominator differs by up to classes / 8 * 2^-24 of it). Three passes over the logits: the largest, the sum, the
// gradient, and one more with smoothed labels, for the sum of the logits themselves, which goes to the loss thread by
// thread; after the first they come from L1 or L2. meanSquaredError: four columns a thread, blocks over the panels.
// Loss sums differ from the CPU's by the order of summation in double precision and by one unit in the last place of
// each logarithm: about 1e-15 of the sum of the terms' magnitudes.
//
// Roofline: bound by memory, 8 bytes a logit (squared error: 12 an output) from memory, and for small batches by the
// latency of the launches.
#include "hebb/loss.h"

#include "hebb/logarithm.h"
#include "launch.cuh"

namespace hebb::cuda {
namespace {

constexpr int kThreads = 256;
constexpr int kResident = 4;     // blocks that a multiprocessor holds at once, so that ptxas has registers enough
constexpr int kFewClasses = 32;  // up to here a thread has a column to itself
constexpr int kShared = 8;       // threads that share a column with more classes
constexpr int kFinishers = 256;  // threads that add the parts

/// What a block found in its columns.
struct Part {
  double loss = 0;
  double correct = 0;
  double weight = 0;
  double badTarget = -1;  // the first column whose target is no class
};
constexpr int32_t kParts = Cuda::kPartials * static_cast<int32_t>(sizeof(double)) / static_cast<int32_t>(sizeof(Part));

__device__ __forceinline__ double firstOf(double a, double b) { return b >= 0 && (a < 0 || b < a) ? b : a; }

/// The sum over the threads of a block, in a fixed order; it is the first thread's. Called by the whole block.
template <int Threads>
__device__ __forceinline__ Part sumOfBlock(Part part) {
  constexpr int kWarps = Threads / kWarp;
  HEBB_SHARED(double, parts, [4][kWarps]);
  const int thread = static_cast<int>(threadIdx.x);
#pragma unroll
  for (int distance = kWarp / 2; distance > 0; distance /= 2) {
    part.loss += __shfl_xor_sync(kWholeWarp, part.loss, distance);
    part.correct += __shfl_xor_sync(kWholeWarp, part.correct, distance);
    part.weight += __shfl_xor_sync(kWholeWarp, part.weight, distance);
    part.badTarget = firstOf(part.badTarget, __shfl_xor_sync(kWholeWarp, part.badTarget, distance));
  }
  if (thread % kWarp == 0) {
    parts[0][thread / kWarp] = part.loss;
    parts[1][thread / kWarp] = part.correct;
    parts[2][thread / kWarp] = part.weight;
    parts[3][thread / kWarp] = part.badTarget;
  }
  __syncthreads();
  if (thread == 0) {
    for (int warp = 1; warp < kWarps; ++warp) {
      part.loss += parts[0][warp];
      part.correct += parts[1][warp];
      part.weight += parts[2][warp];
      part.badTarget = firstOf(part.badTarget, parts[3][warp]);
    }
  }
  return part;
}

/// Where the sums go, and what they are checked for.
struct Totals {
  LossTotals* totals;
  const LossTotals* previous;  // what they were when the step began, or null
  const int64_t* step;
  const int32_t* targets;  // [batch]; null: no classes
  int32_t classes;
  double divisor;  // of the loss
  bool training;
  Problem problem;  // what it is when the loss of training is not finite
  Failure* failure;
};

/// In training, a loss that is not finite ends the step, before it spoils the weights, and the sums are as they were
/// before the step. Called by one thread.
__device__ __forceinline__ void addTotals(const Totals& to, const Part& sum) {
  if (sum.badTarget >= 0) {
    if (to.previous) *to.totals = *to.previous;
    to.failure->limit = to.classes;
    to.failure->place = static_cast<int64_t>(sum.badTarget);
    to.failure->got = to.targets[static_cast<int64_t>(sum.badTarget)];
    to.failure->problem = Problem::target;
    return;
  }
  const double loss = sum.loss / to.divisor;
  LossTotals& totals = *to.totals;
  if (!isfinite(loss) && to.training) {
    if (to.previous) totals = *to.previous;
    to.failure->place = *to.step;
    to.failure->got = loss;
    to.failure->problem = to.problem;
    return;
  }
  if (!isfinite(loss) && totals.nonFiniteStep < 0) totals.nonFiniteStep = static_cast<double>(*to.step);
  totals.loss += loss;
  totals.correct += sum.correct;
  totals.weight += sum.weight;
}

/// Keeps the block's part for addParts, or finishes when there is no other block.
template <int Threads>
__device__ __forceinline__ void emit(const Totals& to, const Part& part, Part* parts) {
  const Part sum = sumOfBlock<Threads>(part);
  if (threadIdx.x != 0) return;
  if (gridDim.x == 1) addTotals(to, sum);
  else parts[blockIdx.x] = sum;
}

__global__ void __launch_bounds__(kFinishers) addParts(Totals to, const Part* parts, int32_t count) {
  if (failed(to.failure)) return;
  Part part;
  for (int32_t i = static_cast<int32_t>(threadIdx.x); i < count; i += kFinishers) {
    part.loss += parts[i].loss;
    part.correct += parts[i].correct;
    part.weight += parts[i].weight;
    part.badTarget = firstOf(part.badTarget, parts[i].badTarget);
  }
  const Part sum = sumOfBlock<kFinishers>(part);
  if (threadIdx.x == 0) addTotals(to, sum);
}

/// As in cpu/loss.cc.
__device__ __forceinline__ double shareOf(const LossColumns& columns, int32_t whole, float of) {
  if (!columns.count) return whole > 0 ? of / static_cast<float>(whole) * columns.lossScale : 0.0;
  return *columns.count > 0.0 ? of / *columns.count * columns.lossScale : 0.0;
}

/// e^x for x <= 0, with the bits of cpu/loss.cc: relative error 2e-7, and 0 below -87.
__device__ __forceinline__ float exponential(float x) {
  const float y = x * 1.44269504f;
  const float shifted = (y < -126.f ? -126.f : y) + 12582912.f;  // rounds to an integer in the low bits
  const float whole = shifted - 12582912.f;
  const float f = fmaf(x, 1.44269504f, 0.f - whole);
  float p = 0.0001534579787403345f;
  p = fmaf(p, f, 0.0013399930903688073f);
  p = fmaf(p, f, 0.009618489071726799f);
  p = fmaf(p, f, 0.05550328642129898f);
  p = fmaf(p, f, 0.24022646248340607f);
  p = fmaf(p, f, 0.6931471824645996f);
  p = fmaf(p, f, 1.0f);
  if (x != x) return x;  // before the conversion to an integer, which a NaN has none of
  return y < -126.f ? 0.f : p * LaneTraits<float>::fromBits((static_cast<int32_t>(whole) + 127) << 23);
}

/// The columns of a block, kThreads / Sharing of them at a time, until none is left. Thread: column in the low part,
/// share of the classes above it.
template <int Sharing>
__global__ void __launch_bounds__(kThreads, kResident) crossEntropy(SoftmaxCrossEntropy op, Totals to, Part* parts) {
  constexpr int kColumns = kThreads / Sharing;
  HEBB_SHARED(float, tops, [Sharing][kColumns]);
  HEBB_SHARED(int32_t, bests, [Sharing][kColumns]);
  HEBB_SHARED(float, sums, [Sharing][kColumns]);
  if (failed(to.failure)) return;
  const Activations& z = op.logits;
  const int32_t columns = z.columns(), padded = (columns + 15) / 16 * 16, firstOfBatch = z.firstColumn();
  const double columnShare = shareOf(op.columns, z.wholeBatch(), 1.f);
  const bool smooths = op.labelSmoothing > 0;
  const int lane = static_cast<int>(threadIdx.x) % kColumns, share = static_cast<int>(threadIdx.x) / kColumns;
  Part part;
  for (int32_t first = static_cast<int32_t>(blockIdx.x) * kColumns; first < padded;
       first += static_cast<int32_t>(gridDim.x) * kColumns) {
    const int32_t column = first + lane;
    const bool valid = column < columns;
    const int32_t p = column / z.panel;
    const float* in = z.data + p * z.panelStride() + column % z.panel;
    // The gradient may take the logits' place, so what is read of other threads' classes is read here. A target that is
    // no class becomes -1.
    int32_t target = -1;
    float top = 0.f, hit = 0.f, weight = 0.f;
    int32_t best = 0;
    if (valid) {
      target = loadReused(op.targets + firstOfBatch + column);
      if (target == op.ignore) {
        target = -1;
      } else if (target < 0 || target >= z.features) {
        part.badTarget = firstOf(part.badTarget, firstOfBatch + column);
        target = -1;
      } else {
        weight = op.columns.weights ? op.columns.weights[firstOfBatch + column] : 1.f;
        hit = in[int64_t{target} * z.panel];
      }
      top = in[0];  // everybody's: a NaN here stays the largest, as on the CPU
#pragma unroll 4
      for (int32_t k = share; k < z.features; k += Sharing) {
        const float v = in[int64_t{k} * z.panel];
        if (v > top) {
          top = v;
          best = k;
        }
      }
    }
    if constexpr (Sharing > 1) {
      tops[share][lane] = top;
      bests[share][lane] = best;
      __syncthreads();
      for (int s = 0; s < Sharing; ++s) {
        const float v = tops[s][lane];
        const int32_t k = bests[s][lane];
        if (v > top || (v == top && k < best)) {
          top = v;
          best = k;
        }
      }
    }
    float sum = 0.f;
    if (valid) {
#pragma unroll 4
      for (int32_t k = share; k < z.features; k += Sharing) sum += exponential(in[int64_t{k} * z.panel] - top);
    }
    double smoothed = 0, aboveSmoothed = 1;  // of q
    if (smooths && weight != 0.f) {
      smoothed = op.smoothed(target);
      aboveSmoothed = op.aboveSmoothed(target);
      double below = 0;  // of this thread's classes
      for (int32_t k = share; k < z.features; k += Sharing) {
        if (k != op.paddingClass) below += in[int64_t{k} * z.panel] - top;
      }
      part.loss -= weight * smoothed * below;
    }
    if constexpr (Sharing > 1) {
      sums[share][lane] = sum;
      __syncthreads();
      sum = sums[0][lane];
      for (int s = 1; s < Sharing; ++s) sum += sums[s][lane];
      __syncthreads();  // tops and sums are free for the next columns
    }
    const float scale = static_cast<float>(weight * columnShare);
    if (weight != 0.f && share == 0) {
      const double logSum = log(static_cast<double>(sum));
      part.loss += weight * (smooths ? logSum - aboveSmoothed * (static_cast<double>(hit) - top) : logSum + top - hit);
      if (best == target && sum == sum) part.correct += weight;  // among NaN nothing is largest
      part.weight += weight;
    }
    if (op.gradient.data && column < padded) {  // padding has no gradient
      float* out = op.gradient.data + p * op.gradient.panelStride() + column % z.panel;
      const float factor = scale / sum;
      const float lower = static_cast<float>(weight * columnShare * smoothed);
      const float lowerTarget = static_cast<float>(weight * columnShare * aboveSmoothed);
#pragma unroll 4
      for (int32_t k = share; k < z.features; k += Sharing) {
        float g = 0.f;
        if (scale != 0.f) {
          g = exponential(in[int64_t{k} * z.panel] - top) * factor;
          if (k != op.paddingClass) g -= lower;
        }
        out[int64_t{k} * z.panel] = k == target ? g - lowerTarget : g;
      }
    }
  }
  emit<kThreads>(to, part, parts);
}

/// Four columns of a panel's rows to a thread, until none is left.
__global__ void __launch_bounds__(kThreads, kResident) squaredError(MeanSquaredError op, Totals to, Part* parts) {
  if (failed(to.failure)) return;
  const Activations& y = op.output;
  const int32_t columns = y.columns(), quarter = y.panel / 4;
  const float* const weights = op.columns.weights ? op.columns.weights + y.firstColumn() : nullptr;
  const int64_t ofPanel = int64_t{y.features} * quarter, quarters = (columns + y.panel - 1) / y.panel * ofPanel;
  const int64_t stride = y.panelStride(), targetStride = op.target.panelStride();
  const int64_t gradientStride = op.gradient.panelStride();
  const double* const count = op.columns.count;
  const float whole = static_cast<float>(y.wholeBatch()), features = static_cast<float>(y.features);
  const double share = count         ? shareOf(op.columns, 0, 2.f) / features
                       : whole > 0.f ? 2.f / (whole * features) * op.columns.lossScale
                                     : 0.0;
  Part part;
  for (int64_t i = int64_t{blockIdx.x} * kThreads + static_cast<int>(threadIdx.x); i < quarters;
       i += int64_t{gridDim.x} * kThreads) {
    const int32_t p = static_cast<int32_t>(i / ofPanel), column = p * y.panel + static_cast<int32_t>(i % quarter) * 4;
    if (column >= (columns + 15) / 16 * 16) continue;
    const int64_t at = (i - p * ofPanel) * 4;
    const float4 output = load4(y.data + p * stride + at), target = load4(op.target.data + p * targetStride + at);
    float4 difference = each4([](float a, float b) { return a - b; }, output, target);
    const auto weightOf = [=](int32_t c) { return c >= columns ? 0.f : weights ? weights[c] : 1.f; };
    const float4 weight =
        make_float4(weightOf(column), weightOf(column + 1), weightOf(column + 2), weightOf(column + 3));
    difference = each4([](float d, float w) { return w != 0.f ? d : 0.f; }, difference, weight);
    part.loss += static_cast<double>(weight.x) * difference.x * difference.x;
    part.loss += static_cast<double>(weight.y) * difference.y * difference.y;
    part.loss += static_cast<double>(weight.z) * difference.z * difference.z;
    part.loss += static_cast<double>(weight.w) * difference.w * difference.w;
    if (at < quarter * 4) part.weight += static_cast<double>(weight.x) + weight.y + weight.z + weight.w;  // feature 0
    if (op.gradient.data) {
      store4(op.gradient.data + p * gradientStride + at,
             each4([=](float d, float w) { return static_cast<float>(w * share) * d; }, difference, weight));
    }
  }
  emit<kThreads>(to, part, parts);
}

__global__ void __launch_bounds__(kWarp) copyTotals(NoteTotals op, const Failure* failure) {
  if (threadIdx.x == 0 && !failed(failure)) *op.previous = *op.totals;
}

__global__ void __launch_bounds__(kFinishers) sumColumnWeights(SumWeights op, const Failure* failure) {
  if (failed(failure)) return;
  Part part;
  for (int32_t c = static_cast<int32_t>(threadIdx.x); c < op.count(); c += kFinishers) part.weight += op.weightOf(c);
  const Part sum = sumOfBlock<kFinishers>(part);
  if (threadIdx.x == 0) *op.sum = sum.weight;
}

template <class Op>
Status sumLoss(Cuda& cuda, const char* operation, void (*kernel)(Op, Totals, Part*), int64_t blocks, const Op& op,
               const Totals& to) {
  Part* parts = reinterpret_cast<Part*>(cuda.partials());
  const int32_t count = blocks < kParts ? static_cast<int32_t>(blocks) : kParts;
  HEBB_RETURN_IF_ERROR(launch(cuda, operation, kernel, count, dim3(kThreads), 0, op, to, parts));
  return count > 1 ? launch(cuda, operation, addParts, 1, dim3(kFinishers), 0, to, parts, count) : Status{};
}

}  // namespace

Status softmaxCrossEntropy(Backend& backend, const SoftmaxCrossEntropy& op) {
  Cuda& cuda = cudaOf(backend);
  const Activations& z = op.logits;
  const Totals to{op.columns.totals,           op.columns.previous,       op.columns.step, op.targets, z.features, 1,
                  op.gradient.data != nullptr, Problem::crossEntropyLoss, cuda.failure()};
  const bool few = z.features <= kFewClasses;
  const int32_t columns = few ? kThreads : kThreads / kShared;
  return sumLoss(cuda, "softmaxCrossEntropy", few ? crossEntropy<1> : crossEntropy<kShared>,
                 (z.capacity - 1) / columns + 1, op, to);
}

Status meanSquaredError(Backend& backend, const MeanSquaredError& op) {
  Cuda& cuda = cudaOf(backend);
  const Activations& y = op.output;
  const Totals to{op.columns.totals,
                  op.columns.previous,
                  op.columns.step,
                  nullptr,
                  0,
                  static_cast<double>(y.features),
                  op.gradient.data != nullptr,
                  Problem::squaredErrorLoss,
                  cuda.failure()};
  const int64_t quarters = int64_t{y.panels()} * y.features * (y.panel / 4);
  return sumLoss(cuda, "meanSquaredError", squaredError, (quarters + 4 * kThreads - 1) / (4 * kThreads), op, to);
}

Status noteTotals(Backend& backend, const NoteTotals& op) {
  Cuda& cuda = cudaOf(backend);
  return launch(cuda, "noteTotals", copyTotals, 1, dim3(kWarp), 0, op, cuda.failure());
}

Status sumWeights(Backend& backend, const SumWeights& op) {
  Cuda& cuda = cudaOf(backend);
  return launch(cuda, "sumWeights", sumColumnWeights, 1, dim3(kFinishers), 0, op, cuda.failure());
}

}  // namespace hebb::cuda
