// The norm of all gradients. A warp adds up one part of a gradient, 32 elements at a time; a second kernel of one block
// adds the parts, a warp a gradient, and looks at the result. Both in the order of the contract: the bits are the
// CPU's. Up to kTogether gradients share the two launches.
//
// Roofline: bound by memory, 4 bytes an element, and for small networks by the latency of the two launches.
#include "hebb/gradient_norm.h"

#include "launch.cuh"

namespace hebb::cuda {
namespace {

constexpr int kThreads = 256, kWarps = kThreads / kWarp;
constexpr int kTogether = 64;
static_assert(GradientNorm::kLanes == kWarp);
static_assert(int64_t{kTogether} * GradientNorm::kParts * 2 <= int64_t{2} * Cuda::kCuts * 64);  // parts in Cuda::sums()

struct Gradients {
  GradientNorm::Part parts[kTogether];
  int32_t firstBlock[kTogether + 1];  // of threads; the last: all
  int32_t count;
};

/// What becomes of the sum.
struct Norm {
  double maxNorm, lossScale;
  double* norm;
  double* scale;
  LossTotals* totals;
  const LossTotals* previous;
  const int64_t* step;
  double* sum;  // [1] of the launches so far
  bool isFirst, isLast;
  Failure* failure;
};

/// The sum over a warp, in pairs that are 16, 8, ... 1 lanes apart.
__device__ __forceinline__ double sumOfWarp(double sum) {
#pragma unroll
  for (int apart = kWarp / 2; apart > 0; apart /= 2) sum += __shfl_xor_sync(kWholeWarp, sum, apart);
  return sum;
}

__device__ __forceinline__ int64_t countOf(const GradientNorm::Part& part) {
  return part.count ? *part.count : part.capacity;
}

/// parts[g][p] = the sum of the squares of part p of gradient g.
__global__ void __launch_bounds__(kThreads) addSquares(Gradients of, double* parts, const Failure* failure) {
  if (failed(failure)) return;
  int g = 0;
  while (static_cast<int32_t>(blockIdx.x) >= of.firstBlock[g + 1]) ++g;
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  const int64_t p =
      int64_t{static_cast<int32_t>(blockIdx.x) - of.firstBlock[g]} * kWarps + static_cast<int64_t>(threadIdx.x) / kWarp;
  const int64_t count = countOf(of.parts[g]);
  if (p >= partsOf(count)) return;
  const float* const gradient = of.parts[g].gradient;
  double sum = 0;
  for (int64_t first = p * GradientNorm::kBlock; first < count;
       first += int64_t{GradientNorm::kParts} * GradientNorm::kBlock) {
    const int64_t end = first + GradientNorm::kBlock < count ? first + GradientNorm::kBlock : count;
#pragma unroll 8
    for (int64_t at = first + lane; at < end; at += kWarp) {
      const double x = gradient[at];
      sum += x * x;
    }
  }
  sum = sumOfWarp(sum);
  if (lane == 0) parts[int64_t{g} * GradientNorm::kParts + p] = sum;
}

/// The norm, once all are added. Called by one thread.
__device__ __forceinline__ void finish(const Norm& to, double squares) {
  const double norm = sqrt(squares) / to.lossScale;
  if (!isfinite(norm)) {
    if (to.totals) *to.totals = *to.previous;
    to.failure->place = *to.step;
    to.failure->got = fabs(norm);
    to.failure->problem = Problem::gradientNorm;
    return;
  }
  *to.norm = norm;
  *to.scale = (to.maxNorm < norm ? to.maxNorm / norm : 1.0) / to.lossScale;
}

__global__ void __launch_bounds__(kThreads) addParts(Gradients of, const double* parts, Norm to) {
  HEBB_SHARED(double, sums, [kTogether]);
  if (failed(to.failure)) return;
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  for (int g = static_cast<int>(threadIdx.x) / kWarp; g < of.count; g += kWarps) {
    const int64_t count = partsOf(countOf(of.parts[g]));
    double sum = 0;
    for (int64_t p = lane; p < count; p += kWarp) sum += parts[int64_t{g} * GradientNorm::kParts + p];
    sum = sumOfWarp(sum);
    if (lane == 0) sums[g] = sum;
  }
  __syncthreads();
  if (threadIdx.x != 0) return;
  double squares = to.isFirst ? 0 : *to.sum;
  for (int g = 0; g < of.count; ++g) squares += sums[g];
  if (to.isLast) finish(to, squares);
  else *to.sum = squares;
}

}  // namespace

Status gradientNorm(Backend& backend, const GradientNorm& op) {
  Cuda& cuda = cudaOf(backend);
  double* const parts = reinterpret_cast<double*>(cuda.sums());
  Norm to{op.maxNorm, op.lossScale,    op.norm, op.scale, op.totals,     op.previous,
          op.step,    cuda.partials(), true,    false,    cuda.failure()};
  size_t next = 0;
  do {
    Gradients of{};
    for (; next < op.gradients.size() && of.count < kTogether; ++next) {
      const GradientNorm::Part& part = op.gradients[next];
      of.parts[of.count] = part;
      const auto blocks = static_cast<int32_t>((partsOf(part.capacity) + kWarps - 1) / kWarps);
      of.firstBlock[of.count + 1] = of.firstBlock[of.count] + blocks;
      ++of.count;
    }
    to.isLast = next == op.gradients.size();
    HEBB_RETURN_IF_ERROR(launch(cuda, "gradientNorm", addSquares, of.firstBlock[of.count], dim3(kThreads), 0, of, parts,
                                cuda.failure()));
    HEBB_RETURN_IF_ERROR(launch(cuda, "gradientNorm", addParts, 1, dim3(kThreads), 0, of, parts, to));
    to.isFirst = false;
  } while (!to.isLast);
  return {};
}

}  // namespace hebb::cuda
