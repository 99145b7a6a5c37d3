// Benchmarks of an operation that takes each activation by itself, and of its gradient.
// Roofline: every activation once: one array read (gradient: two) and one written.
#pragma once

#include "fixture.h"

namespace hebb::bench {

template <class Forward, class Backward>
int pointwise(const char* forward, const char* backward, int argc, char** argv) {
  const Options options = parse(argc, argv);
  std::vector<Case> cases;
  for (int threads : options.threads) {
    for (const int32_t features : options.quick ? std::vector<int32_t>{784} : std::vector<int32_t>{784, 1568, 4096}) {
      for (const int32_t batch : batchesOf(options)) {
        const Shape shape{features, 0, 0, batch, threads};
        const auto add = [&](const char* name, const auto& make, double reads) {
          cases.push_back({name, shape, [=] {
            const auto arrays = std::make_shared<Arrays>(deviceOf(threads));
            const auto fresh = [&] { return arrays->activations(features, batch); };
            const double values = static_cast<double>(features) * batch;
            return Work{.call = running(arrays->device(), make(fresh), arrays),
                        .item = "value",
                        .items = values,
                        .traffic = {.read = 4 * reads * values, .write = 4 * values}};
          }});
        };
        add(forward, [](const auto& fresh) { return Forward{.input = fresh(), .output = fresh()}; }, 1);
        add(backward, [](const auto& fresh) {
          return Backward{.output = fresh(), .outputGradient = fresh(), .inputGradient = fresh()};
        }, 2);
      }
    }
  }
  runAll(cases, options);
  return 0;
}

}  // namespace hebb::bench
