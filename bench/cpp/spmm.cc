// Sparse products, forward and transposed. Traffic: a row of X (or dY) a link, the link itself, and the result once.
#include "hebb/spmm.h"

#include "fixture.h"

using namespace hebb;
using namespace hebb::bench;

int main(int argc, char** argv) {
  const Options options = parse(argc, argv);
  std::vector<Case> cases;
  eachShape(options, [&](const std::string& shape, Size size, double density, int32_t batch, int threads) {
    cases.push_back({"forward/" + shape, [=] {
      const auto device = deviceOf(threads);
      const auto layer = std::make_shared<Layer>(device, size, density, batch);
      const double links = static_cast<double>(layer->links);
      const Spmm op{.weights = layer->matrix->csr(), .values = layer->values, .bias = layer->bias,
                    .input = layer->input, .output = layer->output, .activation = Activation::relu};
      return Work{running(device, op, layer), links, 2 * links * batch, links * (4 * batch + 8) + 4.0 * batch * size.rows};
    }});
    cases.push_back({"transposed/" + shape, [=] {
      const auto device = deviceOf(threads);
      const auto layer = std::make_shared<Layer>(device, size, density, batch);
      const double links = static_cast<double>(layer->links);
      const SpmmTransposed op{.weights = layer->matrix->csr(), .values = layer->values, .outputGradient = layer->outputGradient,
                              .inputGradient = layer->inputGradient, .input = layer->input, .activation = Activation::relu};
      return Work{running(device, op, layer), links, 2 * links * batch, links * (4 * batch + 12) + 8.0 * batch * size.cols};
    }});
  });
  runAll(cases, options, "link");
}
