// The norm of a layer's gradient.
// Roofline: every element read once; a multiplication and an addition each.
#include "hebb/gradient_norm.h"

#include "fixture.h"

using namespace hebb;
using namespace hebb::bench;

int main(int argc, char** argv) {
  const Options options = parse(argc, argv);
  std::vector<Case> cases;
  eachLayer(options, [&](const Shape& shape) {
    cases.push_back({"gradientNorm", shape, [=] {
      const auto layer = layerOf(shape);
      Arrays& arrays = layer->arrays;
      const GradientNorm op{
          .gradients = {{arrays.normal(layer->links), layer->links, layer->csr().rowOffsets + shape.rows}},
          .maxNorm = 1,
          .norm = arrays.zeros<double>(1),
          .scale = arrays.zeros<double>(1),
          .step = arrays.zeros<int64_t>(1)};
      const double links = layer->count();
      return Work{.call = running(arrays.device(), op, layer),
                  .items = links,
                  .flop = 2 * links,
                  .traffic = {.read = 4 * links}};
    }});
  });
  runAll(cases, options);
}
