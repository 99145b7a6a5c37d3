// Losses with their gradients, over classes (outputs) and batches.
// Roofline: the outputs once and the gradient once; of flop, softmax takes 41 a value (two exponentials of 18, a
// maximum, a sum, two differences and a factor), the squared error 4. What is summed in double precision or by the C
// library's logarithm is not counted.
#include "hebb/loss.h"

#include "fixture.h"

using namespace hebb;
using namespace hebb::bench;

int main(int argc, char** argv) {
  const Options options = parse(argc, argv);
  std::vector<Case> cases;
  for (int threads : options.threads) {
    for (const int32_t outputs : options.quick ? std::vector<int32_t>{10} : std::vector<int32_t>{10, 100, 1000}) {
      for (const int32_t batch : batchesOf(options)) {
        const Shape shape{outputs, 0, 0, batch, threads};
        const double values = static_cast<double>(outputs) * batch;
        cases.push_back({"softmaxCrossEntropy", shape, [=] {
          const auto arrays = std::make_shared<Arrays>(deviceOf(threads));
          std::vector<int32_t> targets;
          for (int32_t c = 0; c < batch; ++c) targets.push_back(c % outputs);
          const SoftmaxCrossEntropy op{
              .logits = arrays->activations(outputs, batch),
              .targets = arrays->copyOf(targets),
              .gradient = arrays->activations(outputs, batch),
              .columns = {.totals = arrays->zeros<LossTotals>(1), .step = arrays->zeros<int64_t>(1)}};
          return Work{.call = running(arrays->device(), op, arrays),
                      .item = "value",
                      .items = values,
                      .flop = 41 * values,
                      .traffic = {.read = 4 * values + 4. * batch, .write = 4 * values, .loads = 12 * values}};
        }});
        cases.push_back({"meanSquaredError", shape, [=] {
          const auto arrays = std::make_shared<Arrays>(deviceOf(threads));
          const MeanSquaredError op{
              .output = arrays->activations(outputs, batch),
              .target = arrays->activations(outputs, batch),
              .gradient = arrays->activations(outputs, batch),
              .columns = {.totals = arrays->zeros<LossTotals>(1), .step = arrays->zeros<int64_t>(1)}};
          return Work{.call = running(arrays->device(), op, arrays),
                      .item = "value",
                      .items = values,
                      .flop = 4 * values,
                      .traffic = {.read = 8 * values, .write = 4 * values}};
        }});
      }
    }
  }
  runAll(cases, options);
}
