// The weights' gradient on the links: written to an array, and with the optimizer's step fused (sddmm+sgd).
// Roofline: 2 flop a link and column, and 6 for the step; a row of X fetched for each link from where a panel of it lies, which is what bounds it; the links'
// columns, X, dY and the gradient once. The step reads and writes weight and velocity, and its gradient passes through memory, too.
#include "hebb/sddmm.h"

#include "fixture.h"

using namespace hebb;
using namespace hebb::bench;

namespace {

Work sddmm(const Shape& shape, bool fused) {
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

}  // namespace

int main(int argc, char** argv) {
  const Options options = parse(argc, argv);
  std::vector<Case> cases;
  eachShape(options, [&](const Shape& shape) {
    cases.push_back({"sddmm", shape, [=] { return sddmm(shape, false); }});
    cases.push_back({"sddmm+sgd", shape, [=] { return sddmm(shape, true); }});
  });
  runAll(cases, options);
}
