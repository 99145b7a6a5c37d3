// The dense layer: a network's last one, and the shapes of the sparse benchmarks for comparison.
// Roofline: 2 flop a weight and column; every weight and every activation once, what a product that blocks perfectly
// would move.
#include "hebb/linear.h"

#include "fixture.h"

using namespace hebb;
using namespace hebb::bench;

namespace {

struct DenseLayer {
  explicit DenseLayer(const Shape& shape)
      : arrays(deviceOf(shape.threads)), weights(arrays.normal(int64_t{shape.rows} * shape.cols)),
        bias(arrays.normal(shape.rows)), gradient(arrays.zeros<float>(int64_t{shape.rows} * shape.cols)),
        biasGradient(arrays.zeros<float>(shape.rows)), input(arrays.activations(shape.cols, shape.batch)),
        output(arrays.activations(shape.rows, shape.batch)), inputGradient(arrays.activations(shape.cols, shape.batch)),
        outputGradient(arrays.activations(shape.rows, shape.batch)) {}
  Arrays arrays;
  float *weights, *bias, *gradient, *biasGradient;
  Activations input, output, inputGradient, outputGradient;
};

template <class Make>
Case caseOf(const std::string& operation, const Shape& shape, const Make& make) {
  return {operation, shape, [=] {
    const auto layer = std::make_shared<DenseLayer>(shape);
    const double weights = static_cast<double>(shape.rows) * shape.cols;
    const auto [op, traffic] = make(*layer, 4 * weights);
    return Work{.call = running(layer->arrays.device(), op, layer),
                .item = "weight",
                .items = weights,
                .flop = 2 * weights * shape.batch,
                .traffic = traffic};
  }};
}

}  // namespace

int main(int argc, char** argv) {
  const Options options = parse(argc, argv);
  std::vector<Case> cases;
  std::vector<Size> sizes{{10, 1568}, {10, 4096}};
  for (const Size size : sizesOf(options)) sizes.push_back(size);
  for (int threads : options.threads) {
    for (const Size size : sizes) {
      for (const int32_t batch : batchesOf(options)) {
        const Shape shape{size.rows, size.cols, 0, batch, threads};
        cases.push_back(caseOf("linear", shape, [](const DenseLayer& l, double weights) {
          return std::pair(Linear{.weights = l.weights, .bias = l.bias, .input = l.input, .output = l.output},
                           Traffic{.read = weights + bytesOf(l.input), .write = bytesOf(l.output)});
        }));
        cases.push_back(caseOf("linearTransposed", shape, [](const DenseLayer& l, double weights) {
          return std::pair(LinearTransposed{.weights = l.weights,
                                            .outputGradient = l.outputGradient,
                                            .inputGradient = l.inputGradient,
                                            .input = l.input,
                                            .activation = Activation::relu},
                           Traffic{.read = weights + bytesOf(l.outputGradient) + bytesOf(l.input),
                                   .write = bytesOf(l.inputGradient)});
        }));
        cases.push_back(caseOf("linearGradient", shape, [](const DenseLayer& l, double weights) {
          return std::pair(LinearGradient{l.outputGradient, l.input, l.gradient, l.biasGradient, false, false},
                           Traffic{.read = bytesOf(l.input) + bytesOf(l.outputGradient), .write = weights});
        }));
      }
    }
  }
  runAll(cases, options);
}
