// The products of a sparse layer as benchmarks: what a call does, and its traffic. spmm.cc and sddmm.cc say what is
// counted.
#pragma once

#include "fixture.h"
#include "hebb/sddmm.h"
#include "hebb/spmm.h"

namespace hebb::bench {

/// One row of a panel of `a` for each of `links` links, `degree` of them a neuron, in every panel.
inline Fetch rowsOf(const Activations& a, double links, double degree) {
  return {4 * links * a.capacity, a.features, 4 * a.panel, degree};
}

inline Traffic trafficOf(const Spmm& op) {
  const double links = op.weights.rowOffsets[op.weights.rows];
  Traffic traffic{.read = 12 * links + 8. * op.weights.rows + bytesOf(op.input),
                  .write = bytesOf(op.output),
                  .fetch = rowsOf(op.input, links, links / op.weights.rows)};
  // A link's weight lies in CSC order, far from that of the row's next link. From three panels on links are packed
  // once, and read so by every panel.
  constexpr int32_t kLine = 64;
  const int32_t panels = op.input.panels(), passes = panels < 3 ? panels : 1;
  traffic.lines = {kLine * links * passes, static_cast<int32_t>(4 * links / kLine) + 1, kLine, links / op.weights.rows};
  traffic.loads = traffic.fetch.bytes + 12 * links * passes + (panels < 3 ? 0 : 8 * links * panels);
  return traffic;
}
inline Traffic trafficOf(const SpmmTransposed& op) {
  const double links = op.weights.rowOffsets[op.weights.rows],
               derivative = op.activation == Activation::none ? 0 : bytesOf(op.input);
  Traffic traffic{.read = 8 * links + 4. * op.weights.cols + bytesOf(op.outputGradient) + derivative,
                  .write = bytesOf(op.inputGradient),
                  .fetch = rowsOf(op.outputGradient, links, links / op.weights.cols)};
  traffic.loads = traffic.fetch.bytes + 8 * links * op.outputGradient.panels() + derivative;
  return traffic;
}
/// With the product that goes along, a row of dY serves both.
inline Traffic trafficOf(const Sddmm& op) {
  const double links = op.pattern.rowOffsets[op.pattern.rows], cols = op.pattern.cols,
               step = op.fusedValues.values ? 1 : 0;
  const bool product = op.fusedTransposed.values;
  Traffic traffic{.read = 4 * links + 4 * cols + bytesOf(op.input) + bytesOf(op.outputGradient) +
                          (product && !step ? 4 * links : 0),
                  .write = 4 * links + 4. * op.pattern.rows + (product ? bytesOf(op.fusedTransposed.inputGradient) : 0),
                  .update = step * 8 * (links + op.pattern.rows),
                  .fetch = rowsOf(op.outputGradient, links, links / cols)};
  // X stays in registers beside a product; else four links share each load of it.
  traffic.loads = (product ? 1 : 1.25) * traffic.fetch.bytes + (4 + step * 12) * links +
                  (product ? 4 * links * op.input.panels() : 0);
  return traffic;
}

inline Work spmm(const Shape& shape) {
  const auto layer = layerOf(shape);
  const Spmm op{.weights = layer->csr(),
                .values = layer->values,
                .bias = layer->bias,
                .input = layer->input,
                .output = layer->output,
                .activation = Activation::relu};
  return {.call = running(layer->arrays.device(), op, layer),
          .items = layer->count(),
          .flop = 2 * layer->count() * shape.batch,
          .traffic = trafficOf(op)};
}

inline Work spmmTransposed(const Shape& shape) {
  const auto layer = layerOf(shape);
  const SpmmTransposed op{.weights = layer->csr(),
                          .values = layer->values,
                          .outputGradient = layer->outputGradient,
                          .inputGradient = layer->inputGradient,
                          .input = layer->input,
                          .activation = Activation::relu};
  return {.call = running(layer->arrays.device(), op, layer),
          .items = layer->count(),
          .flop = 2 * layer->count() * shape.batch,
          .traffic = trafficOf(op)};
}

/// What goes along with the gradient.
enum class Along { nothing, step, productAndStep };

inline Work sddmm(const Shape& shape, Along along) {
  const auto layer = layerOf(shape);
  Arrays& arrays = layer->arrays;
  Sddmm op;
  op.pattern = layer->csr();
  op.outputGradient = layer->outputGradient;
  op.input = layer->input;
  op.gradient = arrays.zeros<float>(layer->links);
  op.biasGradient = arrays.zeros<float>(shape.rows);
  if (along != Along::nothing) {
    // At rate 0 the same work is done and the weights stay what they are, however often it is repeated.
    const double* rate = arrays.zeros<double>(1);
    op.fusedValues = {layer->values, arrays.zeros<float>(layer->links), rate, kMomentum, kWeightDecay};
    op.fusedBias = {layer->bias, arrays.zeros<float>(shape.rows), rate, kMomentum, kWeightDecay};
  }
  if (along == Along::productAndStep) {
    op.fusedTransposed = {.weights = op.pattern,
                          .values = layer->values,
                          .outputGradient = op.outputGradient,
                          .inputGradient = layer->inputGradient,
                          .input = op.input,
                          .activation = Activation::relu};
  }
  const double links = layer->count(), products = along == Along::productAndStep ? 2 : 1;
  return {.call = running(arrays.device(), op, layer),
          .items = links,
          .flop = links * (2. * products * shape.batch + (along == Along::nothing ? 0 : 6)),
          .traffic = trafficOf(op)};
}

}  // namespace hebb::bench
