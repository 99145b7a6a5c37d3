// From which density on a layer's forward product is cheaper as dense tiles than link by link: the same layers in both
// forms, in turns, for each level of SIMD that this processor runs. Level::denseFrom (cpu/cpu.cc) is where the two
// times cross at the batches and threads below.
#include "products.h"

using namespace hebb;
using namespace hebb::bench;

int main(int argc, char** argv) {
  const Options options = parse(argc, argv);
  DeviceInfo info;
  {
    std::unique_ptr<Backend> backend;
    must(openCpu({1, "", -1}, &backend, &info));
  }
  std::vector<std::string> levels;  // `detail` lists them
  for (size_t at = 0; at < info.detail.size(); at += levels.back().size() + 2)
    levels.push_back(info.detail.substr(at, info.detail.find(", ", at) - at));
  std::vector<Case> cases;
  for (const std::string& simd : levels) {
    for (int threads : options.threads) {
      for (const int32_t batch : options.quick ? std::vector<int32_t>{32} : std::vector<int32_t>{16, 32, 64, 256}) {
        for (const double density : options.quick ? std::vector<double>{0.5}
                                                  : std::vector<double>{0.1, 0.2, 0.25, 0.3, 0.35, 0.4, 0.5, 0.7, 1}) {
          const Shape shape{1568, 1568, density, batch, threads};
          const auto add = [&](const char* form, double denseFrom) {
            cases.push_back({std::string(form) + ", " + simd, shape, [=] {
              const auto layer = std::make_shared<Layer>(deviceOf(threads, simd, denseFrom),
                                                         Size{shape.rows, shape.cols}, density, batch);
              const Spmm op{.weights = layer->csr(),
                            .values = layer->values,
                            .bias = layer->bias,
                            .input = layer->input,
                            .output = layer->output,
                            .activation = Activation::relu};
              return Work{.call = running(layer->arrays.device(), op, layer),
                          .items = layer->count(),
                          .flop = 2 * layer->count() * batch,
                          .traffic = {}};
            }});
          };
          add("link by link", 2);
          add("dense tiles", 0);
        }
      }
    }
  }
  runAll(cases, options);
}
