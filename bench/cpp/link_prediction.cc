// The scores of all missing links, to host memory. What it costs follows the paths of length three, so shapes with too
// many are left out.
// Roofline: a scattered addition for each step of the walks, counting and scoring alike, but for coefficients that are
// added as whole rows: of these the loads count; an index or a coefficient and a place loaded for each; and the scores
// written.
#include "hebb/link_prediction.h"

#include "paths.h"

using namespace hebb;
using namespace hebb::bench;

int main(int argc, char** argv) {
  const Options options = parse(argc, argv);
  std::vector<Case> cases;
  eachLayer(options, [&](const Shape& shape) {
    if (tooManyPaths(shape)) return;
    for (const auto& [name, predictor] : {std::pair("predictLinks CH2-L3n", LinkPredictor::ch2L3n),
                                          std::pair("predictLinks CH3-L3n", LinkPredictor::ch3L3n)}) {
      cases.push_back({name, shape, [=, predictor = predictor] {
        const auto layer = layerOf(shape);
        const auto scores = std::make_shared<LinkScores>();
        const PredictLinks op{layer->csr(), predictor, scores.get()};
        must(layer->arrays.device()->run(op));
        const Steps steps = stepsOf(layer->csr(), nullptr);
        return Work{.call = running(layer->arrays.device(), op,
                                    std::make_shared<std::pair<decltype(layer), decltype(scores)>>(layer, scores)),
                    .items = layer->count(),
                    .flop = steps.all(),
                    .traffic = {.read = 8 * layer->count(),
                                .write = 12. * static_cast<double>(scores->score.size()),
                                .loads = 8 * steps.all(),
                                .scattered = steps.scattered}};
      }});
    }
  });
  runAll(cases, options);
}
