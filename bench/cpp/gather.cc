// Picking a batch out of a data set of bytes: rows at random places, transposed and converted. Traffic: a byte in and a float out a value.
// The data set is larger than most caches, as MNIST is.
#include "hebb/gather.h"

#include <algorithm>
#include <numeric>

#include "fixture.h"

using namespace hebb;
using namespace hebb::bench;

namespace {

constexpr int32_t kSamples = 60000;

struct Stream {
  Stream(const std::shared_ptr<Device>& device, int32_t features, int32_t batch) : arrays(device) {
    std::mt19937 random(1);
    std::vector<uint8_t> bytes(static_cast<size_t>(kSamples) * static_cast<size_t>(features));
    for (uint8_t& byte : bytes) byte = static_cast<uint8_t>(random() >> 24);
    std::vector<int32_t> order(kSamples);
    std::iota(order.begin(), order.end(), 0);
    std::shuffle(order.begin(), order.end(), random);
    state = arrays.zeros<StepState>(1);
    *state = StepState{.samples = kSamples, .batch = batch, .columns = batch};
    advance = {.state = state, .table = arrays.zeros<double>(1), .scalars = arrays.zeros<double>(1), .width = 1};
    gather.bytes = arrays.copyOf(bytes);
    gather.scale = 1.f / 255;
    gather.samples = kSamples;
    gather.indices = arrays.copyOf(order);
    gather.count = kSamples;
    gather.state = state;
    gather.output = arrays.activations(features, batch, &state->columns);
  }
  Arrays arrays;
  StepState* state;
  Advance advance;
  Gather gather;
};

}  // namespace

int main(int argc, char** argv) {
  const Options options = parse(argc, argv);
  std::vector<Case> cases;
  for (int threads : options.threads) {
    for (const int32_t features : {784, 1568, 4096}) {
      for (const int32_t batch : kBatches) {
        cases.push_back({"gather/" + std::to_string(features) + "/batch:" + std::to_string(batch) + "/threads:" + std::to_string(threads), [=] {
          const auto device = deviceOf(threads);
          const auto stream = std::make_shared<Stream>(device, features, batch);
          const double values = static_cast<double>(features) * batch;
          // The batch moves on at every call, as in training: its rows come from memory and not from a cache that has just seen them.
          const auto call = [device, stream] {
            must(device->run(stream->advance));
            must(device->run(stream->gather));
          };
          return Work{call, values, 2 * values, 5 * values};
        }});
      }
    }
  }
  runAll(cases, options, "value");
}
