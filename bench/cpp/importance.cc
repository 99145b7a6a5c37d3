// The scores by which a remove rule ranks links, all of them kept: |w|, and relative importance, which needs the sums
// of columns and of rows first. Roofline: weight and flag read and score written; relative importance reads the column
// view's slots and the links' columns as well, and takes 5 flop. Weights that it reads through slots are counted as the
// 4 bytes that it needs of them.
#include "hebb/importance.h"

#include "fixture.h"

using namespace hebb;
using namespace hebb::bench;

int main(int argc, char** argv) {
  const Options options = parse(argc, argv);
  std::vector<Case> cases;
  eachLayer(options, [&](const Shape& shape) {
    cases.push_back({"importance magnitude+gradient", shape, [=] {
      const auto layer = layerOf(shape);
      Arrays& arrays = layer->arrays;
      const Importance op{.links = layer->csr(),
                          .values = layer->values,
                          .keep = arrays.copyOf(layer->flags(0)),
                          .rule = ImportanceRule::gradient,
                          .scores = arrays.zeros<float>(layer->links),
                          .gradient = arrays.normal(layer->links),
                          .share = 0.01f};
      const double links = layer->count();
      return Work{.call = running(arrays.device(), op, layer),
                  .items = links,
                  .flop = 3 * links,
                  .traffic = {.read = 9 * links, .write = 4 * links}};
    }});
    for (const bool relative : {false, true}) {
      cases.push_back({relative ? "importance relative" : "importance magnitude", shape, [=] {
        const auto layer = layerOf(shape);
        Arrays& arrays = layer->arrays;
        const Importance op{.links = layer->csr(),
                            .values = layer->values,
                            .keep = arrays.copyOf(layer->flags(0)),
                            .rule = relative ? ImportanceRule::relative : ImportanceRule::magnitude,
                            .scores = arrays.zeros<float>(layer->links)};
        const double links = layer->count();
        return Work{
            .call = running(arrays.device(), op, layer),
            .items = links,
            .flop = (relative ? 5 : 1) * links,
            .traffic = {.read = (relative ? 13 : 5) * links, .write = 4 * links, .loads = (relative ? 23 : 5) * links}};
      }});
    }
  });
  runAll(cases, options);
}
