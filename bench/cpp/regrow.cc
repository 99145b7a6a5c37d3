// Choosing new links after 30% were removed at random: scoring, the race, and the best; and the scores alone. An item is a link of the layer.
// What it costs follows the paths of length three, so shapes with too many are left out.
#include "hebb/regrow.h"

#include "fixture.h"

using namespace hebb;
using namespace hebb::bench;

namespace {

constexpr double kRemoved = 0.3;
/// Multiply-adds above which a shape takes longer than a benchmark should.
constexpr double kMostPaths = 6e9;

struct Update {
  Update(const std::shared_ptr<Device>& device, Size size, double density) : layer(device, size, density, 0) {
    const Csr& links = layer.matrix->csr();
    Arrays& arrays = layer.arrays;
    changes = {arrays.zeros<uint8_t>(links.capacity), arrays.zeros<int32_t>(links.capacity), arrays.zeros<int32_t>(links.capacity), arrays.zeros<int32_t>(1)};
    std::mt19937 random(2);
    std::bernoulli_distribution stays(1 - kRemoved);
    for (int64_t k = 0; k < layer.links; ++k) changes.keep[k] = stays(random);
    count = arrays.zeros<double>(1);
    *count = static_cast<double>(layer.links);
    number = arrays.zeros<double>(1);
    *number = 1;
  }
  Layer layer;
  LinkChanges changes;
  double *count, *number;
  LinkScores scores;
};

}  // namespace

int main(int argc, char** argv) {
  const Options options = parse(argc, argv);
  std::vector<Case> cases;
  for (int threads : options.threads) {
    for (const Size size : kSizes) {
      for (const double density : kDensities) {
        char tail[64];
        std::snprintf(tail, sizeof tail, "/%g%%/threads:%d", 100 * density, threads);
        const std::string shape = shapeName(size) + tail;
        const auto add = [&](const std::string& name, LinkPredictor predictor, bool scoresOnly) {
          cases.push_back({name + "/" + shape, [=] {
            const auto device = deviceOf(threads);
            const auto update = std::make_shared<Update>(device, size, density);
            const Csr& links = update->layer.matrix->csr();
            Work work;
            work.items = static_cast<double>(update->layer.links);
            const Regrow regrow{
                .links = links, .changes = update->changes, .predictor = predictor, .count = update->count, .update = update->number, .seed = 1};
            work.call = scoresOnly ? running(device, PredictLinks{links, predictor, &update->scores}, update) : running(device, regrow, update);
            return work;
          }});
        };
        add("regrow random", LinkPredictor::none, false);
        const double degree = density * size.cols, other = density * size.rows;
        if (degree * other * (size.rows * degree + size.cols * other) > kMostPaths) continue;
        add("regrow CH2-L3n", LinkPredictor::ch2L3n, false);
        add("regrow CH3-L3n", LinkPredictor::ch3L3n, false);
        add("scores CH2-L3n", LinkPredictor::ch2L3n, true);
      }
    }
  }
  runAll(cases, options, "link");
}
