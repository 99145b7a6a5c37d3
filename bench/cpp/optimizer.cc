// SGD with momentum and weight decay, as an operation of its own (a step mostly takes it inside sddmm), and Adam.
// Roofline of SGD: 6 flop a parameter; its gradient read, its value and its velocity read and written. Of Adam: its
// gradient read, its value, its two moments and its count of steps read and written; 50 flop, 32 of them for the two
// powers of the bias correction, a root and two quotients among them.
#include "hebb/optimizer.h"

#include "fixture.h"

using namespace hebb;
using namespace hebb::bench;

int main(int argc, char** argv) {
  const Options options = parse(argc, argv);
  std::vector<Case> cases;
  eachLayer(options, [&](const Shape& shape) {
    cases.push_back({"sgd", shape, [=] {
      const auto layer = layerOf(shape);
      Arrays& arrays = layer->arrays;
      // At rate 0 the same work is done and the weights stay what they are.
      const Sgd op{
          .rule = {layer->values, arrays.zeros<float>(layer->links), arrays.zeros<double>(1), kMomentum, kWeightDecay},
          .gradient = arrays.normal(layer->links),
          .capacity = layer->links,
          .count = layer->csr().rowOffsets + shape.rows};
      const double links = layer->count();
      return Work{.call = running(arrays.device(), op, layer),
                  .items = links,
                  .flop = 6 * links,
                  .traffic = {.read = 4 * links, .update = 8 * links}};
    }});
    cases.push_back({"adam", shape, [=] {
      const auto layer = layerOf(shape);
      Arrays& arrays = layer->arrays;
      const Adam op{.values = layer->values,
                    .gradient = arrays.normal(layer->links),
                    .firstMoment = arrays.zeros<float>(layer->links),
                    .secondMoment = arrays.zeros<float>(layer->links),
                    .steps = arrays.zeros<float>(layer->links),
                    .learningRate = arrays.zeros<double>(1),
                    .weightDecay = kWeightDecay,
                    .capacity = layer->links,
                    .count = layer->csr().rowOffsets + shape.rows};
      const double links = layer->count();
      return Work{.call = running(arrays.device(), op, layer),
                  .items = links,
                  .flop = 50 * links,
                  .traffic = {.read = 4 * links, .update = 16 * links}};
    }});
  });
  runAll(cases, options);
}
