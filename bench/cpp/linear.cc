// The dense layer: a network's last one, and the shapes of the sparse benchmarks for comparison. Traffic: every weight and every activation once,
// what a product that blocks perfectly would move.
#include "hebb/linear.h"

#include "fixture.h"

using namespace hebb;
using namespace hebb::bench;

namespace {

struct DenseLayer {
  DenseLayer(const std::shared_ptr<Device>& device, Size size, int32_t batch)
      : arrays(device), weights(arrays.normal(int64_t{size.rows} * size.cols)), bias(arrays.normal(size.rows)),
        gradient(arrays.zeros<float>(int64_t{size.rows} * size.cols)), biasGradient(arrays.zeros<float>(size.rows)),
        input(arrays.activations(size.cols, batch)), output(arrays.activations(size.rows, batch)),
        inputGradient(arrays.activations(size.cols, batch)), outputGradient(arrays.activations(size.rows, batch)) {}
  Arrays arrays;
  float *weights, *bias, *gradient, *biasGradient;
  Activations input, output, inputGradient, outputGradient;
};

template <class Make>
Case caseOf(const std::string& name, Size size, int32_t batch, int threads, const Make& make) {
  return {name + "/" + shapeName(size) + "/batch:" + std::to_string(batch) + "/threads:" + std::to_string(threads), [=] {
    const auto device = deviceOf(threads);
    const auto layer = std::make_shared<DenseLayer>(device, size, batch);
    const double weights = static_cast<double>(size.rows) * size.cols;
    return Work{running(device, make(*layer), layer), weights, 2 * weights * batch, 4 * weights + 4.0 * batch * (size.rows + size.cols)};
  }};
}

}  // namespace

int main(int argc, char** argv) {
  const Options options = parse(argc, argv);
  std::vector<Case> cases;
  for (int threads : options.threads) {
    for (const Size size : {Size{10, 1568}, Size{10, 4096}, kSizes[0], kSizes[1], kSizes[2]}) {
      for (const int32_t batch : kBatches) {
        cases.push_back(caseOf("forward", size, batch, threads, [](const DenseLayer& l) {
          return Linear{.weights = l.weights, .bias = l.bias, .input = l.input, .output = l.output};
        }));
        cases.push_back(caseOf("transposed", size, batch, threads, [](const DenseLayer& l) {
          return LinearTransposed{
              .weights = l.weights, .outputGradient = l.outputGradient, .inputGradient = l.inputGradient, .input = l.input, .activation = Activation::relu};
        }));
        cases.push_back(caseOf("gradient", size, batch, threads, [](const DenseLayer& l) {
          return LinearGradient{l.outputGradient, l.input, l.gradient, l.biasGradient, false, false};
        }));
      }
    }
  }
  runAll(cases, options, "weight");
}
