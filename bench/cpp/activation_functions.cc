// Activation functions and their gradients.
// Roofline: every activation once: one array read (gradient: two) and one written.
#include "hebb/activation_functions.h"

#include "fixture.h"

namespace hebb::bench {
namespace {

template <class Forward, class Backward>
void add(const char* forward, const char* backward, const Options& options, std::vector<Case>* cases) {
  for (int threads : options.threads) {
    for (const int32_t features : options.quick ? std::vector<int32_t>{784} : std::vector<int32_t>{784, 1568, 4096}) {
      for (const int32_t batch : batchesOf(options)) {
        const auto one = [&](const char* name, auto op, auto fill, double reads) {
          cases->push_back({name, Shape{features, 0, 0, batch, threads}, [=] {
            const auto arrays = std::make_shared<Arrays>(deviceOf(threads));
            auto filled = op;
            fill(&filled, [&] { return arrays->activations(features, batch); });
            const double values = static_cast<double>(features) * batch;
            return Work{.call = running(arrays->device(), filled, arrays),
                        .item = "value",
                        .items = values,
                        .traffic = {.read = 4 * reads * values, .write = 4 * values}};
          }});
        };
        const auto fillForward = [](Forward* op, const auto& fresh) {
          op->input = fresh();
          op->output = fresh();
        };
        const auto fillBackward = [](Backward* op, const auto& fresh) {
          op->at = fresh();
          op->outputGradient = fresh();
          op->inputGradient = fresh();
        };
        one(forward, Forward{}, fillForward, 1);
        one(backward, Backward{}, fillBackward, 2);
      }
    }
  }
}

}  // namespace
}  // namespace hebb::bench

int main(int argc, char** argv) {
  using namespace hebb;
  const bench::Options options = bench::parse(argc, argv);
  std::vector<bench::Case> cases;
  bench::add<Relu, ReluGradient>("relu", "reluGradient", options, &cases);
  bench::add<Tanh, TanhGradient>("tanh", "tanhGradient", options, &cases);
  bench::add<Sigmoid, SigmoidGradient>("sigmoid", "sigmoidGradient", options, &cases);
  bench::add<Silu, SiluGradient>("silu", "siluGradient", options, &cases);
  bench::add<Gelu, GeluGradient>("gelu", "geluGradient", options, &cases);
  bench::runAll(cases, options);
  return 0;
}
