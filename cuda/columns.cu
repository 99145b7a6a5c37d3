// Columns that change their places. A first kernel of one block looks through the indices, so that nothing is written
// where one is wrong; then a thread copies kRows numbers of a column, neighbours along the columns of the step. Bound
// by memory: 4 bytes a number on the side of the step, and a sector of 32 on the other, where columns lie apart.
#include "hebb/columns.h"

#include "pointwise.cuh"

namespace hebb::cuda {
namespace {

constexpr int kThreads = 256;
constexpr int32_t kRows = 8;  // features

/// Reports the first of the indices that is no column.
__global__ void __launch_bounds__(kThreads)
    checkIndices(const int32_t* indices, Activations along, int32_t capacity, Problem problem, Failure* failure) {
  HEBB_SHARED(int32_t, least, [1]);
  const int32_t columns = along.columns(), first = along.firstColumn();
  const int thread = static_cast<int>(threadIdx.x);
  if (thread == 0) least[0] = failed(failure) ? -1 : columns;
  __syncthreads();
  if (least[0] < 0) return;
  __syncthreads();  // all have looked before it changes
  int32_t bad = columns;
  for (int32_t c = thread; c < columns && bad == columns; c += kThreads) {
    if (indices[first + c] < 0 || indices[first + c] >= capacity) bad = c;
  }
  if (bad < columns) atomicMin(&least[0], bad);
  __syncthreads();
  if (least[0] == columns || thread != 0) return;
  failure->limit = capacity;
  failure->place = first + least[0];
  failure->got = indices[first + least[0]];
  failure->problem = problem;
}

__device__ __forceinline__ float* columnOf(const Activations& a, int32_t column, int32_t feature) {
  return a.data + column / a.panel * a.panelStride() + int64_t{feature} * a.panel + column % a.panel;
}

/// A block has kThreads columns and kRows features of the step's side, `along`, and `picked` is the other one.
/// `Gathers`: from there, else to there.
template <bool Gathers>
__global__ void __launch_bounds__(kThreads)
    moveColumns(const int32_t* indices, Activations along, Activations picked, int32_t strips, const Failure* failure) {
  if (failed(failure)) return;
  const int32_t block = static_cast<int32_t>(blockIdx.x), columns = along.columns();
  const int32_t c = block / strips * kThreads + static_cast<int>(threadIdx.x), feature = block % strips * kRows;
  if (c >= (Gathers ? (columns + 15) / 16 * 16 : columns)) return;
  const int32_t features = along.features - feature < kRows ? along.features - feature : kRows;
  float* const here = columnOf(along, c, feature);
  if (c >= columns) {
    for (int32_t f = 0; f < features; ++f) here[int64_t{f} * along.panel] = 0.f;
    return;
  }
  float* const there = columnOf(picked, indices[along.firstColumn() + c], feature);
  for (int32_t f = 0; f < features; ++f) {
    if (Gathers) here[int64_t{f} * along.panel] = there[int64_t{f} * picked.panel];
    else there[int64_t{f} * picked.panel] = here[int64_t{f} * along.panel];
  }
}

template <bool Gathers>
Status move(Cuda& cuda, const char* operation, const int32_t* indices, const Activations& along,
            const Activations& picked) {
  const Problem problem = Gathers ? Problem::gatherColumnsIndex : Problem::scatterColumnsIndex;
  HEBB_RETURN_IF_ERROR(launch(cuda, operation, checkIndices, 1, dim3(kThreads), 0, indices, along, picked.capacity,
                              problem, cuda.failure()));
  const int32_t strips = (along.features + kRows - 1) / kRows;
  const int64_t blocks = (int64_t{along.capacity} + kThreads - 1) / kThreads * strips;
  return launch(cuda, operation, moveColumns<Gathers>, blocks, dim3(kThreads), 0, indices, along, picked, strips,
                cuda.failure());
}

}  // namespace

Status gatherColumns(Backend& backend, const GatherColumns& op) {
  return move<true>(cudaOf(backend), "gatherColumns", op.indices, op.output, op.input);
}

Status scatterColumns(Backend& backend, const ScatterColumns& op) {
  return move<false>(cudaOf(backend), "scatterColumns", op.indices, op.input, op.output);
}

namespace {

/// Four columns of one side at their places in the other.
struct Take {
  Activations input, output;
  __device__ __forceinline__ void at(int32_t p, int64_t i) const {
    const auto feature = static_cast<int32_t>(i / output.panel), c = static_cast<int32_t>(i % output.panel);
    const int32_t column = p * output.panel + c, from = output.firstColumn() - input.firstColumn() + column;
    store4(columnOf(output, column, feature), load4(columnOf(input, from, feature)));
  }
};

/// Walks through the part.
struct Put {
  Activations input, output;
  __device__ __forceinline__ void at(int32_t p, int64_t i) const {
    const auto feature = static_cast<int32_t>(i / input.panel), c = static_cast<int32_t>(i % input.panel);
    const int32_t column = p * input.panel + c, columns = input.columns() - column;
    const float4 from = load4(columnOf(input, column, feature));
    float* const to = columnOf(output, input.firstColumn() - output.firstColumn() + column, feature);
    if (columns >= 4) return store4(to, from);
    if (columns > 0) to[0] = from.x;
    if (columns > 1) to[1] = from.y;
    if (columns > 2) to[2] = from.z;
  }
};

/// Walks through the whole.
struct PutAlone {
  Activations input, output;
  __device__ __forceinline__ void at(int32_t p, int64_t i) const {
    const auto feature = static_cast<int32_t>(i / output.panel), c = static_cast<int32_t>(i % output.panel);
    const int32_t whole = p * output.panel + c, column = whole - (input.firstColumn() - output.firstColumn());
    const int32_t columns = column < 0 ? 0 : input.columns() - column;
    float4 to{};
    if (columns > 0) to = load4(columnOf(input, column, feature));
    if (columns < 2) to.y = 0.f;
    if (columns < 3) to.z = 0.f;
    if (columns < 4) to.w = 0.f;
    store4(columnOf(output, whole, feature), to);
  }
};

}  // namespace

Status takeColumns(Backend& backend, const TakeColumns& op) {
  return each(cudaOf(backend), "takeColumns", op.output, Take{op.input, op.output});
}

Status putColumns(Backend& backend, const PutColumns& op) {
  if (op.keep) return each(cudaOf(backend), "putColumns", op.input, Put{op.input, op.output});
  return each(cudaOf(backend), "putColumns", op.output, PutAlone{op.input, op.output});
}

}  // namespace hebb::cuda
