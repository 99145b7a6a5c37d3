// Sparse products, forward and transposed.
// Roofline: 2 flop a link and column; a row of X (or dY) fetched for each link from where a panel of it lies, which is what bounds them; the links, X and the
// result once. `transposed` reads a link through its slot: 12 bytes where forward reads 8.
#include "hebb/spmm.h"

#include "fixture.h"

using namespace hebb;
using namespace hebb::bench;

int main(int argc, char** argv) {
  const Options options = parse(argc, argv);
  std::vector<Case> cases;
  eachShape(options, [&](const Shape& shape) {
    cases.push_back({"spmm", shape, [=] {
      const auto layer = layerOf(shape);
      const double links = layer->count();
      const Spmm op{.weights = layer->csr(), .values = layer->values, .bias = layer->bias,
                    .input = layer->input, .output = layer->output, .activation = Activation::relu};
      return Work{.call = running(layer->arrays.device(), op, layer), .items = links, .flop = 2 * links * shape.batch, .traffic = trafficOf(op)};
    }});
    cases.push_back({"spmmTransposed", shape, [=] {
      const auto layer = layerOf(shape);
      const double links = layer->count();
      const SpmmTransposed op{.weights = layer->csr(), .values = layer->values, .outputGradient = layer->outputGradient,
                              .inputGradient = layer->inputGradient, .input = layer->input, .activation = Activation::relu};
      return Work{.call = running(layer->arrays.device(), op, layer), .items = links, .flop = 2 * links * shape.batch, .traffic = trafficOf(op)};
    }});
  });
  runAll(cases, options);
}
