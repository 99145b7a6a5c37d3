// Choosing new links by the dense gradient after 30% were removed at random: of random activations, and of activations
// half of which are 0. Roofline: a multiply-add for each cell and column of the batch, and beside it only what a
// removal leaves: X, dY, flags and the links' rows are read once, the new links written. ns are of a cell, not of a
// link.
#include "hebb/gradient_growth.h"

#include "fixture.h"

using namespace hebb;
using namespace hebb::bench;

namespace {

constexpr double kRemoved = 0.3;

Work regrowByGradient(const Shape& shape, bool rectified) {
  const auto layer = layerOf(shape);
  Arrays& arrays = layer->arrays;
  const auto capacity = layer->csr().capacity;
  const Activations x = layer->input;
  for (int64_t i = 0; rectified && i < int64_t{x.panels()} * x.features * x.panel; ++i)
    x.data[i] = std::max(0.f, x.data[i]);
  const LinkChanges changes{arrays.copyOf(layer->flags(kRemoved)), arrays.zeros<int32_t>(capacity),
                            arrays.zeros<int32_t>(capacity), arrays.zeros<int32_t>(1)};
  const RegrowByGradient op{.links = layer->csr(),
                            .changes = changes,
                            .input = x,
                            .outputGradient = layer->outputGradient,
                            .count = arrays.one(layer->count()),
                            .update = arrays.one(1.),
                            .seed = 1};
  const double links = layer->count(), fresh = kRemoved * links, cells = static_cast<double>(shape.rows) * shape.cols;
  return {.call = running(arrays.device(), op, layer),
          .item = "cell",
          .items = cells,
          .flop = 2 * cells * shape.batch,
          .traffic = {.read = 5 * links + bytesOf(x) + bytesOf(layer->outputGradient), .write = 8 * fresh}};
}

}  // namespace

int main(int argc, char** argv) {
  const Options options = parse(argc, argv);
  std::vector<Case> cases;
  eachShape(options, [&](const Shape& shape) {
    cases.push_back({"regrowByGradient", shape, [=] { return regrowByGradient(shape, false); }});
    cases.push_back({"regrowByGradient, rectified", shape, [=] { return regrowByGradient(shape, true); }});
  });
  runAll(cases, options);
}
