// What drives a Program, on the device: advance moves its StepState to the next step, permute writes an epoch's order
// of samples. Integers and copies alone: the bits are the CPU's.
//
// advance and takePart are one block of one warp, bound by the latency of a launch and of three loads that follow one
// another.
// permute is a thread an element, six rounds of Philox (60 pairs of 32-bit products) for each visit of the walk, of
// which there are at most four on average: bound by integer arithmetic, 4 bytes written an element.
#include "hebb/step.h"

#include "launch.cuh"

namespace hebb::cuda {
namespace {

constexpr int kThreads = 256;

__global__ void __launch_bounds__(kWarp) advanceStep(Advance op, const Failure* failure) {
  if (failed(failure)) return;
  StepState s = *op.state;
  __syncwarp();  // all have read what the first lane writes below
  ++s.step;
  int64_t row = s.step - s.firstStep;
  if (row >= s.rows) row = s.rows - 1;
  if (row < 0) row = 0;
  for (int32_t i = static_cast<int32_t>(threadIdx.x); i < op.width; i += kWarp)
    op.scalars[i] = op.table[row * op.width + i];
  if (threadIdx.x != 0) return;
  if (s.samples > 0) {
    if (s.next >= s.samples) s.next = 0;
    s.offset = s.next;
    const int64_t left = s.samples - s.next;
    s.axis.columns = s.axis.whole = static_cast<int32_t>(left < s.batch ? left : s.batch);
    s.next += s.axis.columns;
  }
  *op.state = s;
}

__global__ void __launch_bounds__(kWarp) takePartOfAxis(TakePart op, const Failure* failure) {
  if (threadIdx.x == 0 && !failed(failure)) *op.axis = partOf(*op.whole, op.first, op.capacity);
}

__global__ void __launch_bounds__(kThreads) permuteStream(Permute op, int half, const Failure* failure) {
  if (failed(failure)) return;
  const int64_t i = int64_t{blockIdx.x} * kThreads + static_cast<int>(threadIdx.x);
  if (i >= op.count) return;
  const uint32_t epoch = op.epoch ? static_cast<uint32_t>(*op.epoch) : 0;
  const uint64_t x = static_cast<uint64_t>(i);
  op.indices[i] =
      static_cast<int32_t>(op.identity ? x : permuted(x, static_cast<uint64_t>(op.count), half, op.seed, epoch));
}

}  // namespace

Status advance(Backend& backend, const Advance& op) {
  Cuda& cuda = cudaOf(backend);
  return launch(cuda, "advance", advanceStep, 1, dim3(kWarp), 0, op, cuda.failure());
}

Status takePart(Backend& backend, const TakePart& op) {
  Cuda& cuda = cudaOf(backend);
  return launch(cuda, "takePart", takePartOfAxis, 1, dim3(kWarp), 0, op, cuda.failure());
}

Status permute(Backend& backend, const Permute& op) {
  Cuda& cuda = cudaOf(backend);
  const int64_t blocks = (int64_t{op.count} + kThreads - 1) / kThreads;
  return launch(cuda, "permute", permuteStream, blocks, dim3(kThreads), 0, op, permutationHalf(op.count),
                cuda.failure());
}

}  // namespace hebb::cuda
