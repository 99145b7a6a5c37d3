// Initial weights of the links, and of a dense layer.
// Roofline: 4 / pi Philox blocks a weight (the polar method's attempts); a link's column read and its weight written.
// Square root and logarithm, in double precision, are not counted.
#include "hebb/weights.h"

#include "fixture.h"

using namespace hebb;
using namespace hebb::bench;

namespace {

constexpr double kAttempts = 4 / 3.14159265358979;

}  // namespace

int main(int argc, char** argv) {
  const Options options = parse(argc, argv);
  std::vector<Case> cases;
  eachLayer(options, [&](const Shape& shape) {
    cases.push_back({"initializeNormal", shape, [=] {
      const auto layer = layerOf(shape);
      const double links = layer->count();
      return Work{
          .call = running(layer->arrays.device(),
                          InitializeNormal{{.pattern = layer->csr(), .values = layer->values, .seed = 1}}, layer),
          .items = links,
          .traffic = {.read = 4 * links, .write = 4 * links, .draws = kAttempts * links}};
    }});
  });
  for (int threads : options.threads) {
    const Shape shape{.rows = 10, .cols = 1568, .threads = threads};
    cases.push_back({"initializeNormal dense", shape, [=] {
      const auto arrays = std::make_shared<Arrays>(deviceOf(threads));
      const double weights = static_cast<double>(shape.rows) * shape.cols;
      const InitializeNormal op{{.pattern = {.rows = shape.rows, .cols = shape.cols},
                                 .values = arrays->zeros<float>(int64_t{shape.rows} * shape.cols),
                                 .seed = 1}};
      return Work{.call = running(arrays->device(), op, arrays),
                  .item = "weight",
                  .items = weights,
                  .traffic = {.write = 4 * weights, .draws = kAttempts * weights}};
    }});
  }
  runAll(cases, options);
}
