// How the products of a sparse layer grow with its links, at 10 links a neuron and batch 32: neurons and activations
// grow with them. The same sweep as bench/growth.ts, product by product, each beside its roofline (spmm.cc, sddmm.cc):
// where the exponent of the time is that of the roofline, what bends the curve is the level of the memory hierarchy
// that holds the rows, and not the library.
#include "products.h"

using namespace hebb;
using namespace hebb::bench;

namespace {

constexpr double kDegree = 10;
constexpr int32_t kBatch = 32;

/// The slope of least squares in log-log.
double exponentOf(const std::vector<Row>& rows, const std::function<double(const Row&)>& seconds) {
  double n = 0, sx = 0, sy = 0, sxx = 0, sxy = 0;
  for (const Row& row : rows) {
    const double x = std::log(row.items), y = std::log(seconds(row));
    n += 1, sx += x, sy += y, sxx += x * x, sxy += x * y;
  }
  return (n * sxy - sx * sy) / (n * sxx - sx * sx);
}

}  // namespace

int main(int argc, char** argv) {
  const Options options = parse(argc, argv);
  std::vector<Case> cases;
  for (int threads : options.threads) {
    for (int third = 0; third <= (options.quick ? 1 : 9); ++third) {
      const auto neurons = static_cast<int32_t>(std::lround(1000 * std::pow(10, third / 3.)));
      const Shape shape{neurons, neurons, kDegree / neurons, kBatch, threads};
      cases.push_back({"growth: spmm", shape, [=] { return spmm(shape); }});
      cases.push_back({"growth: sddmm+spmmTransposed+sgd", shape, [=] { return sddmm(shape, Along::productAndStep); }});
    }
  }
  const std::vector<Row> rows = runAll(cases, options);
  std::printf("\n%-48s %14s %18s\n", "exponent in links", "of the time", "of the roofline");
  for (int threads : options.threads) {
    for (const char* operation : {"growth: spmm", "growth: sddmm+spmmTransposed+sgd"}) {
      std::vector<Row> own;
      for (const Row& row : rows) {
        if (row.operation == operation && row.shape.threads == threads) own.push_back(row);
      }
      if (own.size() < 2) continue;
      std::printf("%-34s threads:%-5d %14.3f %18.3f\n", operation, threads,
                  exponentOf(own, [](const Row& r) { return r.median(); }),
                  exponentOf(own, [](const Row& r) { return r.roof.seconds; }));
    }
  }
}
