// Choosing the links that stay: 70% of them by their weights, sampled or the largest; and drawing 30% of a list of
// scores.
// Roofline: a Philox block a link; score, column and flag read, the flag written, and the rank written, copied and read
// by the selection. The logarithms of the sampling key are not counted, and neither are the selection's further passes.
#include "hebb/sample.h"

#include "fixture.h"

using namespace hebb;
using namespace hebb::bench;

namespace {

constexpr double kKept = 0.7;

Work keepLinks(const Shape& shape, bool soft) {
  const auto layer = layerOf(shape);
  Arrays& arrays = layer->arrays;
  float* scores = arrays.zeros<float>(layer->links);
  for (int64_t k = 0; k < layer->links; ++k) scores[k] = std::fabs(layer->values[k]);
  const KeepLinks op{.links = layer->csr(),
                     .scores = scores,
                     .keep = arrays.copyOf(layer->flags(0)),
                     .count = arrays.one(std::floor(kKept * layer->count())),
                     .temperature = soft ? arrays.one(1.) : nullptr,
                     .update = arrays.one(1.),
                     .seed = 1};
  const double links = layer->count();
  const auto restore = [=] { std::fill(op.keep, op.keep + layer->links, uint8_t{1}); };
  return {.call = running(arrays.device(), op, layer),
          .items = links,
          .traffic = {.read = 8 * links + 16 * links, .write = 16 * links, .update = links, .draws = links},
          .before = restore};
}

Work sampleScores(const Shape& shape) {
  const auto layer = layerOf(shape);
  for (int64_t k = 0; k < layer->links; ++k) layer->values[k] = std::fabs(layer->values[k]);
  const auto indices = std::make_shared<std::vector<int64_t>>();
  const SampleScores op{.scores = layer->values,
                        .n = layer->links,
                        .k = std::llround((1 - kKept) * layer->count()),
                        .seed = 1,
                        .indices = indices.get()};
  const double n = layer->count();
  return {.call = running(layer->arrays.device(), op,
                          std::make_shared<std::pair<decltype(layer), decltype(indices)>>(layer, indices)),
          .item = "score",
          .items = n,
          .traffic = {.read = 4 * n + 16 * n, .write = 16 * n + 8 * (1 - kKept) * n, .draws = n}};
}

}  // namespace

int main(int argc, char** argv) {
  const Options options = parse(argc, argv);
  std::vector<Case> cases;
  eachLayer(options, [&](const Shape& shape) {
    cases.push_back({"keepLinks sample", shape, [=] { return keepLinks(shape, true); }});
    cases.push_back({"keepLinks largest", shape, [=] { return keepLinks(shape, false); }});
    cases.push_back({"sampleScores", shape, [=] { return sampleScores(shape); }});
  });
  runAll(cases, options);
}
