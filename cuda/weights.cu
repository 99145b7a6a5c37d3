// Initial weights, each drawn at its link's coordinates by hebb::weightAt: exactly rounded operations alone, the CPU's
// bits. Dense: a thread a weight. Sparse: a warp an input, a lane a link. Bound by arithmetic, for normal ones
// about 1.3 attempts a weight of 20 pairs of 32-bit products and a division and a square root in double precision; 4
// bytes are written a weight, and 4 read a link. It runs once for a layer.
#include "hebb/weights.h"

#include "launch.cuh"

namespace hebb::cuda {
namespace {

constexpr int kThreads = 128;

template <class Op>
__global__ void __launch_bounds__(kThreads) initializeLinks(Op op, const Failure* failure) {
  if (failed(failure)) return;
  const int thread = static_cast<int>(threadIdx.x);
  const int64_t column = int64_t{blockIdx.x} * (kThreads / kWarp) + thread / kWarp;
  if (column >= op.weights.pattern.cols) return;
  const int32_t end = op.weights.pattern.columnOffsets[column + 1];
  for (int32_t k = op.weights.pattern.columnOffsets[column] + thread % kWarp; k < end; k += kWarp)
    op.weights.values[k] = weightAt(op, op.weights.pattern.rowIndices[k], column);
}

template <class Op>
__global__ void __launch_bounds__(kThreads) initializeMatrix(Op op, const Failure* failure) {
  if (failed(failure)) return;
  const int64_t i = int64_t{blockIdx.x} * kThreads + static_cast<int>(threadIdx.x);
  if (i < int64_t{op.weights.pattern.rows} * op.weights.pattern.cols)
    op.weights.values[i] = weightAt(op, i / op.weights.pattern.cols, i % op.weights.pattern.cols);
}

template <class Op>
Status initialize(Cuda& cuda, const char* name, const Op& op) {
  const Csr& w = op.weights.pattern;
  const bool sparse = w.columnOffsets != nullptr;
  const int64_t work = sparse ? int64_t{w.cols} * kWarp : int64_t{w.rows} * w.cols;
  return launch(cuda, name, sparse ? initializeLinks<Op> : initializeMatrix<Op>, (work + kThreads - 1) / kThreads,
                dim3(kThreads), 0, op, cuda.failure());
}

}  // namespace

Status initializeNormal(Backend& backend, const InitializeNormal& op) {
  return initialize(cudaOf(backend), "initializeNormal", op);
}

Status initializeUniform(Backend& backend, const InitializeUniform& op) {
  return initialize(cudaOf(backend), "initializeUniform", op);
}

}  // namespace hebb::cuda
