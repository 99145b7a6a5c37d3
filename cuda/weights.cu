// Initial weights, each drawn at its link's coordinates by hebb::normalAt: exactly rounded operations alone, the CPU's
// bits. Dense: a thread a weight. Sparse: a warp an input, a lane a link. Bound by arithmetic, about 1.3 attempts a
// weight of 20 pairs of 32-bit products and a division and a square root in double precision; 4 bytes are written a
// weight, and 4 read a link. It runs once for a layer.
#include "hebb/weights.h"

#include "launch.cuh"

namespace hebb::cuda {
namespace {

constexpr int kThreads = 128;

__device__ __forceinline__ float weightAt(const InitializeNormal& op, int64_t row, int64_t column) {
  const uint32_t purpose = purposeWord(Purpose::weights, static_cast<uint32_t>(op.layer));
  return static_cast<float>(op.deviation *
                            normalAt(op.seed, static_cast<uint32_t>(row), static_cast<uint32_t>(column), purpose));
}

__global__ void __launch_bounds__(kThreads) initializeLinks(InitializeNormal op, const Failure* failure) {
  if (failed(failure)) return;
  const int thread = static_cast<int>(threadIdx.x);
  const int64_t column = int64_t{blockIdx.x} * (kThreads / kWarp) + thread / kWarp;
  if (column >= op.pattern.cols) return;
  const int32_t end = op.pattern.columnOffsets[column + 1];
  for (int32_t k = op.pattern.columnOffsets[column] + thread % kWarp; k < end; k += kWarp)
    op.values[k] = weightAt(op, op.pattern.rowIndices[k], column);
}

__global__ void __launch_bounds__(kThreads) initializeMatrix(InitializeNormal op, const Failure* failure) {
  if (failed(failure)) return;
  const int64_t i = int64_t{blockIdx.x} * kThreads + static_cast<int>(threadIdx.x);
  if (i < int64_t{op.pattern.rows} * op.pattern.cols)
    op.values[i] = weightAt(op, i / op.pattern.cols, i % op.pattern.cols);
}

}  // namespace

Status initializeNormal(Backend& backend, const InitializeNormal& op) {
  Cuda& cuda = cudaOf(backend);
  const Csr& w = op.pattern;
  const bool sparse = w.columnOffsets != nullptr;
  const int64_t work = sparse ? int64_t{w.cols} * kWarp : int64_t{w.rows} * w.cols;
  return launch(cuda, "initializeNormal", sparse ? initializeLinks : initializeMatrix, (work + kThreads - 1) / kThreads,
                dim3(kThreads), 0, op, cuda.failure());
}

}  // namespace hebb::cuda
