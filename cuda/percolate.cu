// Percolation: one launch for each relation backward, then one for each forward. That is all it takes: a neuron looks
// at its own links alone, and a pass over the relations carries a cut to the end of the network. A warp per neuron.
//
// Roofline, two layers of L links: 4 L bytes of flags, and 8 L of slots where a row is looked at or cleared.
#include "hebb/percolate.h"

#include "launch.cuh"

namespace hebb::cuda {
namespace {

constexpr int kThreads = 256, kWarps = kThreads / kWarp;

/// The links of neurons on one side of a layer: of inputs in CSC order, of outputs through the slots.
struct Side {
  const int32_t* offsets;
  const int32_t* slots;
  uint8_t* keep;
};

__device__ __forceinline__ bool isEmpty(const Side& side, int32_t node, int lane) {
  const int32_t end = side.offsets[node + 1];
  for (int32_t first = side.offsets[node]; first < end; first += kWarp) {
    const int32_t at = first + lane;
    const bool kept = at < end && side.keep[side.slots ? side.slots[at] : at];
    if (__any_sync(kWholeWarp, kept)) return false;
  }
  return true;
}

__device__ __forceinline__ void clear(const Side& side, int32_t node, int lane) {
  for (int32_t at = side.offsets[node] + lane; at < side.offsets[node + 1]; at += kWarp)
    side.keep[side.slots ? side.slots[at] : at] = 0;
}

/// Neurons without a link in `from` lose those in `to`; and the other way round, if `both`.
__global__ void __launch_bounds__(kThreads) cut(Side from, Side to, bool both, int32_t nodes, const Failure* failure) {
  if (failed(failure)) return;
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  const int64_t warp = static_cast<int64_t>(blockIdx.x) * kWarps + static_cast<int64_t>(threadIdx.x) / kWarp;
  if (warp >= nodes) return;
  const int32_t node = static_cast<int32_t>(warp);
  if (isEmpty(from, node, lane)) clear(to, node, lane);
  else if (both && isEmpty(to, node, lane)) clear(from, node, lane);
}

Side outputs(const Percolate::Layer& layer) { return {layer.links.rowOffsets, layer.links.cscSlots, layer.keep}; }
Side inputs(const Percolate::Layer& layer) { return {layer.links.columnOffsets, nullptr, layer.keep}; }

Status pass(Cuda& cuda, const Percolate& op, const LayerRelation& relation, bool backward) {
  const Percolate::Layer& first = op.layers[static_cast<size_t>(relation.first)];
  const Percolate::Layer& second = op.layers[static_cast<size_t>(relation.second)];
  const bool joint = relation.kind == LayerRelation::Kind::joint;
  const Side of = outputs(first), other = joint ? outputs(second) : inputs(second);
  const bool transposed = backward && !joint;
  const int32_t nodes = first.links.rows;
  return launch(cuda, "percolate", cut, (nodes - 1) / kWarps + 1, dim3(kThreads), 0, transposed ? other : of,
                transposed ? of : other, joint, nodes, cuda.failure());
}

}  // namespace

Status percolate(Backend& backend, const Percolate& op) {
  Cuda& cuda = cudaOf(backend);
  for (auto r = op.relations.rbegin(); r != op.relations.rend(); ++r) HEBB_RETURN_IF_ERROR(pass(cuda, op, *r, true));
  for (const LayerRelation& r : op.relations) HEBB_RETURN_IF_ERROR(pass(cuda, op, r, false));
  return {};
}

}  // namespace hebb::cuda
