// Choosing new links after 30% were removed at random: by the scores of CH2-L3n and CH3-L3n, sampled or the largest,
// and uniformly. What scoring costs follows the paths of length three, so shapes with too many are left out.
// Roofline: as link_prediction.cc, on the links kept, but no score is written; instead each missing link that has a
// score takes a Philox block for the race. Uniformly: a Philox block a new link. In both the flags and the links kept
// are read and written, and the new ones written.
#include "hebb/regrow.h"

#include "paths.h"

using namespace hebb;
using namespace hebb::bench;

namespace {

constexpr double kRemoved = 0.3;

/// Missing links with a score, where only these links are kept.
double scored(const Layer& layer, const std::vector<uint8_t>& keep, LinkPredictor predictor) {
  const Csr w = layer.csr();
  HostCsr kept{{0}, {}};
  for (int32_t r = 0; r < w.rows; ++r) {
    for (int32_t k = w.rowOffsets[r]; k < w.rowOffsets[r + 1]; ++k) {
      if (keep[static_cast<size_t>(k)]) kept.columnIndices.push_back(w.columnIndices[k]);
    }
    kept.rowOffsets.push_back(static_cast<int32_t>(kept.columnIndices.size()));
  }
  const auto device = layer.arrays.device();
  const auto matrix = matrixOf(device, {w.rows, w.cols}, kept);
  LinkScores scores;
  must(device->run(PredictLinks{matrix->csr(), predictor, &scores}));
  return static_cast<double>(scores.score.size());
}

Work regrow(const Shape& shape, LinkPredictor predictor, Selection selection) {
  const auto layer = layerOf(shape);
  Arrays& arrays = layer->arrays;
  const auto keep = layer->flags(kRemoved);
  const auto capacity = layer->csr().capacity;
  const LinkChanges changes{arrays.copyOf(keep), arrays.zeros<int32_t>(capacity), arrays.zeros<int32_t>(capacity),
                            arrays.zeros<int32_t>(1)};
  const Regrow op{.links = layer->csr(),
                  .changes = changes,
                  .predictor = predictor,
                  .selection = selection,
                  .count = arrays.one(layer->count()),
                  .update = arrays.one(1.),
                  .seed = 1};
  const double links = layer->count(), fresh = kRemoved * links;
  Traffic traffic{.read = 13 * links, .write = 8 * (links - fresh) + 8 * fresh};
  Steps steps;
  if (predictor == LinkPredictor::none) traffic.draws = fresh;
  else
    traffic.draws = scored(*layer, keep, predictor), steps = stepsOf(layer->csr(), keep.data()),
    traffic.loads = 8 * steps.all(), traffic.scattered = steps.scattered;
  return {.call = running(arrays.device(), op, layer), .items = links, .flop = steps.all(), .traffic = traffic};
}

}  // namespace

int main(int argc, char** argv) {
  const Options options = parse(argc, argv);
  std::vector<Case> cases;
  eachLayer(options, [&](const Shape& shape) {
    const auto add = [&](const char* name, LinkPredictor predictor, Selection selection) {
      cases.push_back({name, shape, [=] { return regrow(shape, predictor, selection); }});
    };
    add("regrow none", LinkPredictor::none, Selection::sample);
    if (tooManyPaths(shape)) return;
    add("regrow CH2-L3n sample", LinkPredictor::ch2L3n, Selection::sample);
    add("regrow CH2-L3n largest", LinkPredictor::ch2L3n, Selection::largest);
    add("regrow CH3-L3n sample", LinkPredictor::ch3L3n, Selection::sample);
    add("regrow CH3-L3n largest", LinkPredictor::ch3L3n, Selection::largest);
  });
  runAll(cases, options);
}
