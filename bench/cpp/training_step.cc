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

#include "products.h"
#include "program.h"

using namespace hebb;
using namespace hebb::bench;

namespace {

using Clock = std::chrono::steady_clock;

constexpr int32_t kWidths[] = {784, 1568, 1568, 1568}, kClasses = 10, kSamples = 20000;
constexpr int kLayers = 3;

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

struct Network {
  Arrays arrays;
  const double density;
  std::shared_ptr<SparseMatrix> matrices[kLayers];
  float *values[kLayers], *velocity[kLayers], *gradient[kLayers], *bias[kLayers], *biasVelocity[kLayers],
      *biasGradient[kLayers];
  float *lastWeights, *lastBias, *lastVelocity, *lastBiasVelocity, *lastGradient, *lastBiasGradient;
  StepState* state;
  double *rate, *table;
  std::vector<Operation> recorded;

  Network(const std::shared_ptr<Device>& device, const Settings& settings) : arrays(device), density(settings.density) {
    const int32_t batch = settings.batch;
    state = arrays.zeros<StepState>(1);
    *state = StepState{.samples = kSamples, .batch = batch, .columns = batch};
    rate = arrays.zeros<double>(1);
    table = arrays.zeros<double>(1);
    *table = 1e-4;
    for (int i = 0; i < kLayers; ++i) {
      const Size size{kWidths[i + 1], kWidths[i]};
      const int64_t links = std::llround(settings.density * size.rows * size.cols);
      HostCsr host;
      if (settings.random) must(erdosRenyi(size.rows, size.cols, links, 1, i, &host));
      else must(bipartiteReceptiveField(size.rows, size.cols, links, {}, 1, i, &host));
      matrices[i] = matrixOf(device, size, host);
      for (float** array : {&values[i], &velocity[i], &gradient[i]}) *array = arrays.zeros<float>(links);
      for (float** array : {&bias[i], &biasVelocity[i], &biasGradient[i]}) *array = arrays.zeros<float>(size.rows);
      initialize(i);
    }
    update(settings.updates);
    record(batch);
  }

  void initialize(int i) {
    const Csr links = matrices[i]->csr();
    must(arrays.device()->run(InitializeNormal{.pattern = links,
                                               .values = values[i],
                                               .deviation = std::sqrt(2 / (density * links.cols)),
                                               .seed = 1,
                                               .layer = i}));
  }

  /// Topology updates as CHTs makes them, with new random weights before each: the hubs that training grows come from
  /// the topology's own rule.
  void update(int count) {
    const auto device = arrays.device();
    double *kept = arrays.zeros<double>(1), *target = arrays.zeros<double>(1), *number = arrays.zeros<double>(1),
           *heat = arrays.zeros<double>(1);
    *heat = 2;
    LinkChanges changes[kLayers];
    float* scores[kLayers];
    Percolate percolate;
    for (int i = 0; i < kLayers; ++i) {
      const Csr links = matrices[i]->csr();
      changes[i] = {.keep = arrays.zeros<uint8_t>(links.capacity),
                    .newRows = arrays.zeros<int32_t>(links.capacity),
                    .newColumns = arrays.zeros<int32_t>(links.capacity),
                    .newCount = arrays.zeros<int32_t>(1)};
      scores[i] = arrays.zeros<float>(links.capacity);
      percolate.layers.push_back({links, changes[i].keep});
      if (i > 0) percolate.relations.push_back({i - 1, i, LayerRelation::Kind::consecutive});
    }
    for (*number = 1; *number <= count; ++*number) {
      for (int i = 0; i < kLayers; ++i) {
        const Csr links = matrices[i]->csr();
        initialize(i);
        *target = links.capacity;
        *kept = std::ceil(0.7 * *target);
        must(device->run(BeginUpdate{links, changes[i]}));
        must(
            device->run(Importance{.links = links, .values = values[i], .keep = changes[i].keep, .scores = scores[i]}));
        must(device->run(KeepLinks{.links = links,
                                   .scores = scores[i],
                                   .keep = changes[i].keep,
                                   .count = kept,
                                   .temperature = heat,
                                   .update = number,
                                   .seed = 1,
                                   .layer = i}));
      }
      must(device->run(percolate));
      for (int i = 0; i < kLayers; ++i) {
        const Csr links = matrices[i]->csr();
        *target = links.capacity;
        must(device->run(Regrow{.links = links,
                                .changes = changes[i],
                                .predictor = LinkPredictor::ch2L3n,
                                .count = target,
                                .update = number,
                                .seed = 1,
                                .layer = i}));
        must(device->run(Rebuild{links, changes[i], {values[i], velocity[i]}}));
      }
    }
    for (int i = 0; i < kLayers; ++i) initialize(i);
  }

  SgdRule rule(float* weights, float* velocities) const { return {weights, velocities, rate, kMomentum, kWeightDecay}; }

  /// The operations in the order in which the library's tape records them.
  void record(int32_t batch) {
    const int32_t* columns = &state->columns;
    const auto device = arrays.device();
    std::mt19937 random(3);
    std::vector<uint8_t> images(static_cast<size_t>(kSamples) * static_cast<size_t>(kWidths[0]));
    for (uint8_t& byte : images) byte = static_cast<uint8_t>(random() >> 24);
    std::vector<int32_t> labels(kSamples);
    for (int32_t& label : labels) label = static_cast<int32_t>(random() % kClasses);
    int32_t* order = arrays.zeros<int32_t>(kSamples);
    must(device->run(Permute{.indices = order, .count = kSamples, .seed = 1}));

    Activations x[kLayers + 1], dx[kLayers + 1];
    for (int i = 0; i <= kLayers; ++i) {
      x[i] = arrays.activations(kWidths[i], batch, columns);
      dx[i] = arrays.activations(kWidths[i], batch, columns);
    }
    const Activations logits = arrays.activations(kClasses, batch, columns),
                      dLogits = arrays.activations(kClasses, batch, columns);
    const int32_t last = kWidths[kLayers];
    for (float** array : {&lastVelocity, &lastGradient}) *array = arrays.zeros<float>(int64_t{last} * kClasses);
    for (float** array : {&lastBias, &lastBiasVelocity, &lastBiasGradient}) *array = arrays.zeros<float>(kClasses);
    lastWeights = arrays.normal(int64_t{last} * kClasses, std::sqrt(2.f / static_cast<float>(last)));
    int32_t* targets = arrays.zeros<int32_t>((batch + 15) / 16 * 16);
    auto* totals = arrays.zeros<LossTotals>(1);

    recorded.push_back(Gather{.bytes = arrays.copyOf(images),
                              .scale = 1.f / 128,
                              .shift = -1,
                              .samples = kSamples,
                              .indices = order,
                              .count = kSamples,
                              .state = state,
                              .output = x[0]});
    recorded.push_back(GatherLabels{.labels = arrays.copyOf(labels),
                                    .samples = kSamples,
                                    .indices = order,
                                    .count = kSamples,
                                    .state = state,
                                    .targets = targets});
    for (int i = 0; i < kLayers; ++i) {
      recorded.push_back(Spmm{.weights = matrices[i]->csr(),
                              .values = values[i],
                              .bias = bias[i],
                              .input = x[i],
                              .output = x[i + 1],
                              .activation = Activation::relu});
    }
    recorded.push_back(Linear{.weights = lastWeights, .bias = lastBias, .input = x[kLayers], .output = logits});
    recorded.push_back(SoftmaxCrossEntropy{
        .logits = logits, .targets = targets, .gradient = dLogits, .totals = totals, .step = &state->step});
    recorded.push_back(LinearTransposed{lastWeights, dLogits, dx[kLayers], x[kLayers], Activation::relu, false});
    recorded.push_back(LinearGradient{dLogits, x[kLayers], lastGradient, lastBiasGradient, false, false});
    for (int i = kLayers - 1; i >= 0; --i) {
      if (i > 0)
        recorded.push_back(
            SpmmTransposed{matrices[i]->csr(), values[i], dx[i + 1], dx[i], x[i], Activation::relu, false});
      recorded.push_back(
          Sddmm{matrices[i]->csr(), dx[i + 1], x[i], gradient[i], biasGradient[i], false, false, {}, {}, {}});
    }
    for (int i = 0; i < kLayers; ++i) {
      const Csr links = matrices[i]->csr();
      recorded.push_back(Sgd{.rule = rule(values[i], velocity[i]),
                             .gradient = gradient[i],
                             .capacity = links.capacity,
                             .count = links.rowOffsets + links.rows});
      recorded.push_back(
          Sgd{.rule = rule(bias[i], biasVelocity[i]), .gradient = biasGradient[i], .capacity = links.rows});
    }
    recorded.push_back(
        Sgd{.rule = rule(lastWeights, lastVelocity), .gradient = lastGradient, .capacity = int64_t{last} * kClasses});
    recorded.push_back(
        Sgd{.rule = rule(lastBias, lastBiasVelocity), .gradient = lastBiasGradient, .capacity = kClasses});
  }

  /// The step as the engine runs it, each operation with its name and traffic.
  std::vector<Timed> bound(int32_t batch, int threads) const {
    std::vector<Operation> operations = fuse(recorded);
    operations.insert(operations.begin(), Advance{.state = state, .table = table, .scalars = rate, .width = 1});
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
};

void report(int threads, const Settings& settings, std::vector<Row>& rows) {
  const auto device = deviceOf(threads, "", settings.denseFrom);
  Network network(device, settings);
  std::vector<Timed> step = network.bound(settings.batch, threads);
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
  for (int i = 0; i < kLayers; ++i) {
    const Csr links = network.matrices[i]->csr();
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
