// The roofs themselves (roofline.h): what caches and memory give to passes over arrays and to fetches of rows, and what
// the arithmetic units give. The ns a row of a fetch bound the ns a link of a product. All threads work at once, and
// fetch from the same rows; their sum is the rate.
//   --threads=1,2 --json=FILE --quick
#include "fixture.h"

using namespace hebb;
using namespace hebb::bench;

int main(int argc, char** argv) {
  const Options options = parse(argc, argv);
  if (options.rest.size() > 1) {
    std::fprintf(stderr, "Expected --threads=, --json= or --quick, got %s\n", options.rest[1]);
    return 2;
  }
  std::printf("%-44s %10s %8s %10s %9s %9s\n", "what", "KiB", "threads", "rate", "unit", "ns/row");
  size_t printed = 0;
  const auto print = [&](int32_t rowBytes = 0) {
    for (; printed < measuredRates().size(); ++printed) {
      const MeasuredRate& m = measuredRates()[printed];
      std::printf("%-44s %10.0f %8d %10.1f %9s", m.what.c_str(), m.bytes / 1024, m.threads, m.rate, m.unit.c_str());
      // Of one thread: the others fetch at the same time.
      if (rowBytes > 0) std::printf(" %9.2f", rowBytes * m.threads / m.rate);
      std::printf("\n");
      std::fflush(stdout);
    }
  };
  for (int threads : options.threads) {
    flopRate(threads);
    drawRate(threads);
    scatterRate(threads);
    print();
    for (const int32_t kib :
         options.quick ? std::vector<int32_t>{16} : std::vector<int32_t>{16, 128, 512, 2048, 8192, 32768, 131072}) {
      for (const Pass pass : {Pass::read, Pass::write, Pass::copy, Pass::update}) {
        passRate(pass, 1024. * kib * threads, threads);
        print();
      }
    }
    // 10 links a neuron.
    for (const int32_t rowBytes : {128, 512}) {
      for (const int32_t features : options.quick
                                        ? std::vector<int32_t>{784}
                                        : std::vector<int32_t>{128, 784, 1568, 4096, 16384, 65536, 262144, 1048576}) {
        fetchRate(features, rowBytes, 10, threads);
        print(rowBytes);
      }
    }
  }
  writeJson(options, {});
}
