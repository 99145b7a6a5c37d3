// Percolation through three layers in a row, 30% of whose links were removed at random. Once the dangling links are
// gone a call looks at every neuron and clears none, which is what is timed.
// Roofline: for each of the two relations, there and back, a neuron's two offsets, and the slot and the flag of one
// link.
#include "hebb/percolate.h"

#include "fixture.h"

using namespace hebb;
using namespace hebb::bench;

namespace {

struct Chain {
  explicit Chain(const Shape& shape) {
    for (int i = 0; i < 3; ++i) {
      const Size size{shape.rows, i == 0 ? shape.cols : shape.rows};
      layers.push_back(std::make_shared<Layer>(deviceOf(shape.threads), size, shape.density));
      percolate.layers.push_back({layers.back()->csr(), layers.back()->arrays.copyOf(layers.back()->flags(0.3))});
      if (i > 0) percolate.relations.push_back({i - 1, i, LayerRelation::Kind::consecutive});
    }
  }
  std::vector<std::shared_ptr<Layer>> layers;
  Percolate percolate;
};

}  // namespace

int main(int argc, char** argv) {
  const Options options = parse(argc, argv);
  std::vector<Case> cases;
  eachLayer(options, [&](const Shape& shape) {
    cases.push_back({"percolate", shape, [=] {
      const auto chain = std::make_shared<Chain>(shape);
      const double neurons = 2. * shape.rows;  // of each relation
      return Work{.call = running(deviceOf(shape.threads), chain->percolate, chain),
                  .item = "neuron",
                  .items = neurons,
                  .traffic = {.read = 2 * neurons * (4 + 4 + 1)}};
    }});
  });
  runAll(cases, options);
}
