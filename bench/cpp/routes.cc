// Scoring and choosing new links by both routes of every predictor, in turns, beside what the cost model (cpu/prediction_cost.h) expects of them, over
// densities and sizes: where each route wins, and where the automatic choice takes the slower one.
// No link is removed, so the layer that is scored has the density that the case is named by; as many links as 30% of it are grown.
#include <cmath>
#include <cstdio>

#include "fixture.h"
#include "hebb/regrow.h"

using namespace hebb;
using namespace hebb::bench;

namespace {

double timed(const std::function<void()>& call) {
  const auto start = std::chrono::steady_clock::now();
  call();
  return secondsSince(start);
}

}  // namespace

int main(int argc, char** argv) {
  const Options options = parse(argc, argv);
  const int threads = options.threads.back();
  const auto device = deviceOf(threads);
  for (const int n : {256, 512, 1024, 1568, 2048, 4096}) {
    for (const double density : {0.001, 0.002, 0.005, 0.01, 0.02, 0.03, 0.05, 0.1, 0.2, 0.5}) {
      const double degree = density * n;
      HostCsr host;
      const int64_t links = std::llround(density * n * n), grown = std::min<int64_t>(links * 3 / 10, int64_t{n} * n - links);
      if (links < 1) continue;
      must(erdosRenyi(n, n, links, 1, 0, &host));
      const auto matrix = matrixOf(device, {n, n}, host, links + grown);
      Arrays arrays(device);
      const int64_t capacity = matrix->csr().capacity;
      const LinkChanges changes{arrays.copyOf(std::vector<uint8_t>(static_cast<size_t>(capacity), 1)), arrays.zeros<int32_t>(capacity), arrays.zeros<int32_t>(capacity),
                                arrays.zeros<int32_t>(1)};
      for (const auto& [name, predictor] : {std::pair("CH2-L3n", LinkPredictor::ch2L3n), std::pair("CH3-L3p", LinkPredictor::ch3L3p)}) {
        char text[100];
        std::snprintf(text, sizeof text, "%s/%d/%g%%", name, n, 100 * density);
        if (std::string(text).find(options.filter) == std::string::npos && options.filter != ".") continue;
        double seconds[2] = {-1, -1};
        for (int route = 0; route < 2; ++route) {
          const bool dense = route == 1;
          const double work = isByPaths(predictor) ? n * degree * degree * (dense ? n / 16. : degree) : n * degree * (dense ? n / 8. : std::min<double>(degree * degree, n) * 2);
          if (work * 1e-9 > 4) continue;
          const Regrow op{.links = matrix->csr(), .changes = changes, .predictor = predictor, .count = arrays.one(static_cast<double>(links + grown)), .update = arrays.one(1.),
                          .seed = 1, .route = dense ? PredictionRoute::dense : PredictionRoute::sparse};
          std::vector<double> all;
          const double first = timed([&] { must(device->run(op)); });
          for (int i = 0; i < (first > 0.5 ? 1 : 7); ++i) all.push_back(timed([&] { must(device->run(op)); }));
          std::sort(all.begin(), all.end());
          seconds[route] = all[0];
        }
        std::printf("%-28s sparse %10.3f ms   dense %10.3f ms\n", text, seconds[0] * 1e3, seconds[1] * 1e3);
        std::fflush(stdout);
      }
    }
  }
}
