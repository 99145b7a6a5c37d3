// Where a training step of the paper's MNIST network goes: every operation of the step is timed in its place, so caches
// hold what they hold in training. Random images, the network as it begins (brf), after some topology updates
// (--updates=20), or with links at random places (--random). Beside each product stands its roofline (spmm.cc,
// sddmm.cc), as if it ran alone.
//   --threads=1,2 --batch=32 --density=0.01 --dense-from=-1 --updates=0 --random --steps=1000 --json=FILE --quick
// --dense-from=0 multiplies forward in dense tiles, 2 link by link, -1 as the device chooses: where the two cross in a
// step, not alone (forms.cc).
#include <algorithm>
#include <chrono>
#include <cstring>

#include "network.h"
#include "products.h"

using namespace hebb;
using namespace hebb::bench;

namespace {

using Clock = std::chrono::steady_clock;

const std::vector<int32_t> kWidths{784, 1568, 1568, 1568, 10};
constexpr int32_t kSamples = 20000;

struct Settings {
  int32_t batch = 32;
  int updates = 0, steps = 1000;
  int rounds = kRepetitions;
  bool random = false;
  double density = 0.01, denseFrom = -1;
};

/// An operation of the step, what it is about, and what it moves and computes where that is counted.
struct Timed {
  Operation operation;
  std::string name;
  Shape shape;
  double links = 0, flop = 0;
  Traffic traffic = {};
  std::vector<double> rounds = {};  // seconds: the median of each round
};

double medianOf(std::vector<double> values) {
  std::nth_element(values.begin(), values.begin() + static_cast<ptrdiff_t>(values.size() / 2), values.end());
  return values[values.size() / 2];
}

/// The network, after so many topology updates with new random weights before each: the hubs that training grows come
/// from the topology's own rule.
std::unique_ptr<Network> networkOf(const std::shared_ptr<Device>& device, const Settings& settings) {
  NetworkOptions options{.widths = kWidths,
                         .density = settings.density,
                         .batch = settings.batch,
                         .seed = 1,
                         .sgd = {1e-4, kMomentum, kWeightDecay}};
  for (int i = 0; settings.random && i + 2 < static_cast<int>(kWidths.size()); ++i) {
    const int32_t rows = options.widths[static_cast<size_t>(i) + 1], cols = options.widths[static_cast<size_t>(i)];
    options.links.emplace_back();
    must(networks::erdosRenyi(rows, cols, std::llround(settings.density * rows * cols), 1, i, &options.links.back()));
  }
  std::unique_ptr<Network> network;
  must(Network::create(device, options, &network));
  for (int number = 0; number < settings.updates; ++number) {
    must(network->updateTopology(0.3, 2));
    for (const NetworkLayer& layer : network->layers()) must(layer.initialize(1));
  }
  std::mt19937 random(3);
  std::vector<uint8_t> images(static_cast<size_t>(kSamples) * static_cast<size_t>(kWidths.front()));
  for (uint8_t& byte : images) byte = static_cast<uint8_t>(random() >> 24);
  std::vector<int32_t> labels(kSamples);
  for (int32_t& label : labels) label = static_cast<int32_t>(random() % static_cast<uint32_t>(kWidths.back()));
  must(network->setData(images, labels, 1.f / 128, -1));
  return network;
}

/// The step as the engine runs it, each operation with its name and traffic.
std::vector<Timed> stepOf(const Network& network, int32_t batch, int threads) {
  std::vector<Operation> operations;
  must(network.step()->bound(&operations));
  std::vector<Timed> result;
  for (const Operation& operation : operations) {
    Timed timed{.operation = operation, .name = nameOf(operation), .shape = {.batch = batch, .threads = threads}};
    const auto product = [&](const auto& op, const Csr& links, double more) {
      timed.shape = {links.rows, links.cols, 0, batch, threads};
      timed.links = links.rowOffsets[links.rows];
      timed.flop = timed.links * (2 * batch + more);
      timed.traffic = trafficOf(op);
    };
    if (const auto* forward = std::get_if<Spmm>(&operation)) product(*forward, forward->weights, 0);
    if (const auto* back = std::get_if<SpmmTransposed>(&operation)) product(*back, back->weights, 0);
    if (const auto* weights = std::get_if<Sddmm>(&operation)) {
      const bool step = weights->fusedValues.values, backward = weights->fusedTransposed.values;
      product(*weights, weights->pattern, (step ? 6 : 0) + (backward ? 2 * batch : 0));
      if (backward) timed.name += "+spmmTransposed";
      if (step) timed.name += "+sgd";
    }
    if (const auto* optimizer = std::get_if<Sgd>(&operation))
      timed.name.append(" of ").append(std::to_string(optimizer->capacity));
    result.push_back(std::move(timed));
  }
  return result;
}

void report(int threads, const Settings& settings, std::vector<Row>& rows) {
  const auto device = deviceOf(threads, "", settings.denseFrom);
  const auto network = networkOf(device, settings);
  std::vector<Timed> step = stepOf(*network, settings.batch, threads);
  const size_t count = step.size();
  std::vector<std::vector<double>> samples(count, std::vector<double>(static_cast<size_t>(settings.steps)));
  std::vector<double> whole;
  for (int round = -1; round < settings.rounds; ++round) {
    auto start = Clock::now();
    for (int s = 0; s < settings.steps; ++s) {
      for (const Timed& one : step) must(device->run(one.operation));
    }
    const double plain = std::chrono::duration<double>(Clock::now() - start).count() / settings.steps;
    for (size_t s = 0; s < static_cast<size_t>(settings.steps); ++s) {
      start = Clock::now();
      for (size_t i = 0; i < count; ++i) {
        must(device->run(step[i].operation));
        const auto now = Clock::now();
        samples[i][s] = std::chrono::duration<double>(now - start).count();
        start = now;
      }
    }
    if (round < 0) continue;  // caches and clock rates settle
    whole.push_back(plain);
    for (size_t i = 0; i < count; ++i) step[i].rounds.push_back(medianOf(samples[i]));
  }

  int32_t active = 0, neurons = 0;
  for (const NetworkLayer& layer : network->layers()) {
    if (!layer.links) continue;
    const Csr links = layer.links->csr();
    for (int32_t c = 0; c < links.cols; ++c, ++neurons) active += links.columnOffsets[c + 1] > links.columnOffsets[c];
  }
  std::printf("\n%d thread%s, batch %d, %s, %d updates: %.0f%% of the neurons have an outgoing link\n", threads,
              threads > 1 ? "s" : "", settings.batch, settings.random ? "random links" : "brf", settings.updates,
              100.0 * active / neurons);
  std::printf("%-38s %9s %9s %9s %7s %9s %8s %11s %9s %s\n", "operation", "median us", "min us", "max us", "of step",
              "ns/link", "GB/s", "roofline us", "share", "bound");
  const size_t before = rows.size();
  double sum = 0;
  for (const Timed& one : step) sum += medianOf(one.rounds);
  for (const Timed& one : step) {
    std::vector<double> seconds = one.rounds;
    std::sort(seconds.begin(), seconds.end());
    const Case named{"training step " + std::to_string(rows.size() - before + 1) + ": " + one.name, one.shape, nullptr};
    rows.push_back({named.name(), named.operation, one.shape, "link", one.links, one.flop, one.traffic.moved(), seconds,
                    roofline(one.flop, one.traffic, threads)});
    const Row& row = rows.back();
    const double median = row.median();
    const std::string text =
        one.links > 0 ? one.name + " " + std::to_string(one.shape.cols) + "x" + std::to_string(one.shape.rows)
                      : one.name;
    std::printf("%-38s %9.2f %9.2f %9.2f %6.1f%%", text.c_str(), median * 1e6, row.least() * 1e6, seconds.back() * 1e6,
                100 * median / sum);
    if (one.links > 0) {
      std::printf(" %9.3f %8.1f %11.2f %8.0f%% %s", median * 1e9 / one.links, row.bytes / median * 1e-9,
                  row.roof.seconds * 1e6, 100 * row.roof.seconds / median, row.roof.bound.c_str());
    }
    std::printf("\n");
  }
  std::sort(whole.begin(), whole.end());
  const Case all{"training step", {.batch = settings.batch, .threads = threads}, nullptr};
  rows.push_back({all.name(), all.operation, all.shape, "step", 1, 0, 0, whole, {}});
  std::printf("%-32s %9.2f\n", "sum of the operations' medians", sum * 1e6);
  std::printf("%-32s %9.2f %9.2f %9.2f\n", "mean step, untimed inside", rows.back().median() * 1e6, whole.front() * 1e6,
              whole.back() * 1e6);
}

}  // namespace

int main(int argc, char** argv) {
  const Options options = parse(argc, argv);
  Settings settings;
  if (options.quick) settings.steps = 20, settings.rounds = 2;
  for (size_t i = 1; i < options.rest.size(); ++i) {
    const char* arg = options.rest[i];
    if (std::sscanf(arg, "--batch=%d", &settings.batch) == 1 ||
        std::sscanf(arg, "--updates=%d", &settings.updates) == 1 ||
        std::sscanf(arg, "--steps=%d", &settings.steps) == 1 ||
        std::sscanf(arg, "--density=%lf", &settings.density) == 1 ||
        std::sscanf(arg, "--dense-from=%lf", &settings.denseFrom) == 1) {
      continue;
    }
    if (std::strcmp(arg, "--random") != 0) {
      std::fprintf(stderr,
                   "Expected --threads=, --batch=, --updates=, --steps=, --density=, --dense-from=, --random, --json= "
                   "or --quick, got %s\n",
                   arg);
      return 2;
    }
    settings.random = true;
  }
  if (settings.batch < 1 || settings.steps < 1 || settings.updates < 0 ||
      !(settings.density > 0 && settings.density <= 1)) {
    std::fprintf(stderr, "Expected a batch and steps of at least 1, and a density above 0, up to 1\n");
    return 2;
  }
  std::vector<Row> rows;
  for (int threads : options.threads) report(threads, settings, rows);
  writeJson(options, rows);
}
