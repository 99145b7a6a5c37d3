// The products of a sparse layer as benchmarks: what a call does, and its traffic. spmm.cc and sddmm.cc say what is counted.
#pragma once

#include "fixture.h"
#include "hebb/sddmm.h"
#include "hebb/spmm.h"

namespace hebb::bench {

/// One row of a panel of `a` for each of `links` links, `degree` of them a neuron, in every panel.
inline Fetch rowsOf(const Activations& a, double links, double degree) { return {4 * links * a.capacity, a.features, 4 * a.panel, degree}; }

inline Traffic trafficOf(const Spmm& op) {
  const double links = op.weights.rowOffsets[op.weights.rows];
  Traffic traffic{.read = 8 * links + 8. * op.weights.rows + bytesOf(op.input), .write = bytesOf(op.output),
                  .fetch = rowsOf(op.input, links, links / op.weights.rows)};
  traffic.loads = traffic.fetch.bytes + 8 * links * op.input.panels();
  return traffic;
}
inline Traffic trafficOf(const SpmmTransposed& op) {
  const double links = op.weights.rowOffsets[op.weights.rows], derivative = op.activation == Activation::none ? 0 : bytesOf(op.input);
  Traffic traffic{.read = 12 * links + 4. * op.weights.cols + bytesOf(op.outputGradient) + derivative, .write = bytesOf(op.inputGradient),
                  .fetch = rowsOf(op.outputGradient, links, links / op.weights.cols)};
  // A link's weight lies in CSR order, far from that of the column's next link.
  constexpr int32_t kLine = 64;
  traffic.lines = {kLine * links * op.outputGradient.panels(), static_cast<int32_t>(4 * links / kLine) + 1, kLine, links / op.weights.cols};
  traffic.loads = traffic.fetch.bytes + 12 * links * op.outputGradient.panels() + derivative;
  return traffic;
}
inline Traffic trafficOf(const Sddmm& op) {
  const double links = op.pattern.rowOffsets[op.pattern.rows], rows = op.pattern.rows, step = op.fusedValues.values ? 1 : 0;
  Traffic traffic{.read = 4 * links + 4 * rows + bytesOf(op.input) + bytesOf(op.outputGradient), .write = 4 * links + 4 * rows, .update = step * 8 * (links + rows),
                  .fetch = rowsOf(op.input, links, links / rows)};
  traffic.loads = 1.25 * traffic.fetch.bytes + (4 + step * 12) * links;  // four links share each load of dY
  return traffic;
}

inline Work spmm(const Shape& shape) {
  const auto layer = layerOf(shape);
  const Spmm op{.weights = layer->csr(), .values = layer->values, .bias = layer->bias,
                .input = layer->input, .output = layer->output, .activation = Activation::relu};
  return {.call = running(layer->arrays.device(), op, layer), .items = layer->count(), .flop = 2 * layer->count() * shape.batch, .traffic = trafficOf(op)};
}

inline Work spmmTransposed(const Shape& shape) {
  const auto layer = layerOf(shape);
  const SpmmTransposed op{.weights = layer->csr(), .values = layer->values, .outputGradient = layer->outputGradient,
                          .inputGradient = layer->inputGradient, .input = layer->input, .activation = Activation::relu};
  return {.call = running(layer->arrays.device(), op, layer), .items = layer->count(), .flop = 2 * layer->count() * shape.batch, .traffic = trafficOf(op)};
}

inline Work sddmm(const Shape& shape, bool fused) {
  const auto layer = layerOf(shape);
  Arrays& arrays = layer->arrays;
  Sddmm op;
  op.pattern = layer->csr();
  op.outputGradient = layer->outputGradient;
  op.input = layer->input;
  op.gradient = arrays.zeros<float>(layer->links);
  op.biasGradient = arrays.zeros<float>(shape.rows);
  if (fused) {
    // At rate 0 the same work is done and the weights stay what they are, however often it is repeated.
    const double* rate = arrays.zeros<double>(1);
    op.fusedValues = {layer->values, arrays.zeros<float>(layer->links), rate, kMomentum, kWeightDecay};
    op.fusedBias = {layer->bias, arrays.zeros<float>(shape.rows), rate, kMomentum, kWeightDecay};
  }
  const double links = layer->count();
  return {.call = running(arrays.device(), op, layer), .items = links, .flop = links * (2. * shape.batch + (fused ? 6 : 0)), .traffic = trafficOf(op)};
}

}  // namespace hebb::bench
