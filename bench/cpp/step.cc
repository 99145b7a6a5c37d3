// What drives a Program: moving on to the next step, and the order of the samples for an epoch.
// Roofline: advance moves a few words; permute takes six Philox blocks for each attempt at an index (the Feistel
// network's range is a power of 4, of which only the samples count) and writes 4 bytes.
#include "hebb/step.h"

#include "fixture.h"

using namespace hebb;
using namespace hebb::bench;

int main(int argc, char** argv) {
  const Options options = parse(argc, argv);
  std::vector<Case> cases;
  for (int threads : options.threads) {
    cases.push_back({"advance", {.threads = threads}, [=] {
      const auto arrays = std::make_shared<Arrays>(deviceOf(threads));
      StepState* state = arrays->one(StepState{.samples = 60000, .batch = 32, .axis = {32, 0, 32}});
      const Advance op{
          .state = state, .table = arrays->zeros<double>(4), .scalars = arrays->zeros<double>(4), .width = 4};
      return Work{.call = running(arrays->device(), op, arrays),
                  .item = "step",
                  .items = 1,
                  .traffic = {.read = 32, .write = 32, .update = sizeof(StepState)}};
    }});
    for (const int32_t samples : options.quick ? std::vector<int32_t>{1000} : std::vector<int32_t>{60000, 1000000}) {
      cases.push_back({"permute", {.rows = samples, .threads = threads}, [=] {
        const auto arrays = std::make_shared<Arrays>(deviceOf(threads));
        const Permute op{.indices = arrays->zeros<int32_t>(samples), .count = samples, .seed = 1};
        double range = 4;
        while (range < samples) range *= 4;
        return Work{.call = running(arrays->device(), op, arrays),
                    .item = "index",
                    .items = static_cast<double>(samples),
                    .traffic = {.write = 4. * samples, .draws = 6 * range}};
      }});
    }
  }
  runAll(cases, options);
}
