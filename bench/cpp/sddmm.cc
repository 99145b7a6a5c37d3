// The weights' gradient on the links: written to an array, and with the optimizer's step fused. Traffic: a row of X a link, dY once, and the
// link's column with its gradient or with its weight and velocity.
#include "hebb/sddmm.h"

#include "fixture.h"

using namespace hebb;
using namespace hebb::bench;

namespace {

Work sddmm(int threads, Size size, double density, int32_t batch, bool fused) {
  const auto device = deviceOf(threads);
  const auto layer = std::make_shared<Layer>(device, size, density, batch);
  Arrays& arrays = layer->arrays;
  Sddmm op;
  op.pattern = layer->matrix->csr();
  op.outputGradient = layer->outputGradient;
  op.input = layer->input;
  op.gradient = arrays.zeros<float>(layer->links);
  op.biasGradient = arrays.zeros<float>(size.rows);
  if (fused) {
    // At rate 0 the same work is done and the weights stay what they are, however often it is repeated.
    const double* rate = arrays.zeros<double>(1);
    op.fusedValues = {layer->values, arrays.zeros<float>(layer->links), rate, kMomentum, kWeightDecay};
    op.fusedBias = {layer->bias, arrays.zeros<float>(size.rows), rate, kMomentum, kWeightDecay};
  }
  const double links = static_cast<double>(layer->links);
  return {running(device, op, layer), links, 2 * links * batch, links * (4 * batch + (fused ? 20 : 8)) + 4.0 * batch * size.rows};
}

}  // namespace

int main(int argc, char** argv) {
  const Options options = parse(argc, argv);
  std::vector<Case> cases;
  eachShape(options, [&](const std::string& shape, Size size, double density, int32_t batch, int threads) {
    cases.push_back({"sddmm/" + shape, [=] { return sddmm(threads, size, density, batch, false); }});
    cases.push_back({"sddmm+sgd/" + shape, [=] { return sddmm(threads, size, density, batch, true); }});
  });
  runAll(cases, options, "link");
}
