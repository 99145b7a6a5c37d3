// Scoring and choosing new links by both routes of every predictor, in turns, beside what the cost model
// (cpu/prediction_cost.h) expects of them, over densities and sizes: where each route wins, and where the automatic
// choice takes the slower one. Times are processor time of one thread. No link is removed, so the layer that is scored
// has the density that the case is named by; as many links as 30% of it are grown.
#include <cmath>
#include <cstdio>
#include <ctime>

#include "fixture.h"
#include "hebb/regrow.h"
#include "prediction_cost.h"

using namespace hebb;
using namespace hebb::bench;

namespace {

/// Seconds that a case may be expected to take.
constexpr double kMost = 1.5;

/// Floats in a vector of the level in use.
int lanesOf(const Device& device) {
  const std::string& level = device.info().simd;
  return level == "x86-64-v4" ? 16 : level == "x86-64-v3" ? 8 : 4;
}

/// Processor time: on one thread it is the time on an idle machine, whatever runs beside.
double timed(const std::function<void()>& call) {
  const std::clock_t start = std::clock();
  call();
  return static_cast<double>(std::clock() - start) / CLOCKS_PER_SEC;
}

}  // namespace

int main(int argc, char** argv) {
  const Options options = parse(argc, argv);
  const auto device = deviceOf(1);
  std::vector<Row> rows;
  int both = 0, wrong = 0;
  double worst = 1;
  std::printf("%-24s %14s %14s %14s %14s  %s\n", "ms, one thread", "sparse", "expected", "dense", "expected",
              "automatic");
  for (const int n : options.quick ? std::vector<int>{256} : std::vector<int>{256, 512, 1024, 1568, 2048, 4096}) {
    for (const double density : {0.001, 0.002, 0.005, 0.01, 0.02, 0.03, 0.05, 0.1, 0.2, 0.5}) {
      HostCsr host;
      const int64_t links = std::llround(density * n * n),
                    grown = std::min<int64_t>(links * 3 / 10, int64_t{n} * n - links);
      must(networks::erdosRenyi(n, n, links, 1, 0, &host));
      const auto matrix = matrixOf(device, {n, n}, host, links + grown);
      const Csr w = matrix->csr();
      Arrays arrays(device);
      const LinkChanges changes{arrays.copyOf(std::vector<uint8_t>(static_cast<size_t>(w.capacity), 1)),
                                arrays.zeros<int32_t>(w.capacity), arrays.zeros<int32_t>(w.capacity),
                                arrays.zeros<int32_t>(1)};
      for (const auto& [name, predictor] :
           {std::pair("CH2-L3n", LinkPredictor::ch2L3n), std::pair("CH3-L3p", LinkPredictor::ch3L3p)}) {
        const cpu::RouteSeconds expected =
            cpu::expectedSeconds({w.rows, w.cols, w.rowOffsets, w.columnIndices, w.columnOffsets, w.rowIndices},
                                 predictor, lanesOf(*device));
        double seconds[2] = {};
        for (const bool dense : {false, true}) {
          if ((dense ? expected.dense : expected.sparse) > kMost) continue;
          const Regrow op{.links = w,
                          .changes = changes,
                          .predictor = predictor,
                          .count = arrays.one(static_cast<double>(links + grown)),
                          .update = arrays.one(1.),
                          .seed = 1,
                          .route = dense ? PredictionRoute::dense : PredictionRoute::sparse};
          Row row;
          row.operation = std::string("regrow ") + name + (dense ? ", dense route" : ", sparse route");
          row.shape = {n, n, density, 0, 1};
          row.name = Case{row.operation, row.shape, nullptr}.name();
          row.items = static_cast<double>(links);
          const double first = timed([&] { must(device->run(op)); });
          for (int i = 0; i < (options.quick || first > 0.3 ? 1 : first > 0.01 ? 3 : 15); ++i)
            row.seconds.push_back(timed([&] { must(device->run(op)); }));
          std::sort(row.seconds.begin(), row.seconds.end());
          seconds[dense] = row.least();
          rows.push_back(row);
        }
        const bool choice = expected.dense < expected.sparse;
        const char* verdict = "";
        if (seconds[0] > 0 && seconds[1] > 0) {
          ++both;
          if (choice != (seconds[1] < seconds[0])) {
            ++wrong;
            verdict = ", wrong";
            worst = std::max(worst, std::max(seconds[0], seconds[1]) / std::min(seconds[0], seconds[1]));
          }
        }
        char text[40];
        std::snprintf(text, sizeof text, "%s/%d/%g%%", name, n, 100 * density);
        std::printf("%-24s", text);
        for (const auto& [measured, model] :
             {std::pair(seconds[0], expected.sparse), std::pair(seconds[1], expected.dense)}) {
          if (measured > 0) std::printf(" %14.3f", measured * 1e3);
          else std::printf(" %14s", "-");
          std::printf(" %14.3f", model * 1e3);
        }
        std::printf("  %s%s\n", choice ? "dense" : "sparse", verdict);
        std::fflush(stdout);
      }
    }
  }
  std::printf("%d of %d choices were wrong, at worst by a factor of %.2f\n", wrong, both, worst);
  writeJson(options, rows);
}
