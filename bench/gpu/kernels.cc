// What the kernels take on a GPU: the products of a sparse layer and of a dense one, a whole training step of the
// paper's MNIST network as one graph, and a topology update of one layer. Opened through the engine, so what runs is
// what training runs.
//   --filter=REGEX   cases to run
//   --json=FILE      all rows and all measured rates, for programs
//   --quick          tiny shapes, hardly timed: shows that everything runs, on an emulated GPU too
//
// Calls of a product are recorded as one graph and many of these graphs are queued between two waits, so the host's
// part (some microseconds a launch) is hidden as in training. A step is one graph a step, as in training. An update is
// waited for: nothing follows it at once. Medians of 7 repetitions, on data that the repetition before has left where
// it fits: in L2 mostly, as in training.
//
// Roofline of a product, all rates measured in the same run (bandwidth.cu), bytes counted as in ../cpp/products.h:
//   max( arrays passed over once / bandwidth past L1 of so many bytes,
//        rows of the activations, one a link and panel / bandwidth past L1 of a panel,
//        all loads / bandwidth of L1 )
// A dense layer has no roofline here: its own products stand beside cuBLAS's and, in the report, PyTorch's.
// Rows that several links of a multiprocessor share may come from its L1: a share above 100% is then no error.
#include <cmath>
#include <limits>
#include <regex>

#include "bandwidth.h"
#include "network.h"
#include "products.h"

using namespace hebb;
using namespace hebb::bench;

namespace {

using Clock = std::chrono::steady_clock;

struct Settings {
  std::string filter = ".", json;
  bool quick = false;

  int repetitions() const { return quick ? 2 : 7; }
  double seconds() const { return quick ? 0 : 0.02; }  // of a repetition, at least
};

class Bench {
 public:
  explicit Bench(Settings settings) : settings_(std::move(settings)), filter_(settings_.filter) {
    must(Device::openCuda(0, &device_));
    if (const Status status = Device::openCuda(0, &withCublas_, Blas::cublas); !status.ok())
      std::printf("without cuBLAS: %s\n", status.message().c_str());
    must(secondCacheOf(device_->backend(), &secondCache_));
    checkTraversals();
    std::printf("%s, %s\n", device_->info().name.c_str(), device_->info().detail.c_str());
    printHead();
  }

  void run() {
    const bool quick = settings_.quick;
    const std::vector<Size> squares = quick ? std::vector<Size>{{96, 64}} : std::vector<Size>{{4096, 4096}};
    const std::vector<double> densities =
        quick ? std::vector<double>{0.05} : std::vector<double>{0.01, 0.02, 0.05, 0.1};
    const std::vector<int32_t> batches = quick ? std::vector<int32_t>{32, 130} : std::vector<int32_t>{32, 128, 512};
    const std::vector<Size> mnist = quick ? std::vector<Size>{} : std::vector<Size>{{1568, 784}, {1568, 1568}};
    for (const int32_t batch : batches) step(batch);
    for (const double density : densities) {
      for (const Size& size : quick ? squares : std::vector<Size>{{1568, 1568}, {4096, 4096}}) {
        if (density > 0.05) continue;
        for (const PredictionRoute route : {PredictionRoute::sparse, PredictionRoute::dense})
          update({size.rows, size.cols, density, 0, 0}, route);
      }
    }
    for (const int32_t batch : batches) {
      for (const Size& size : mnist) products({size.rows, size.cols, 0.01, batch, 0});
      for (const Size& size : squares) {
        for (const double density : densities) products({size.rows, size.cols, density, batch, 0});
      }
      if (!quick) dense({1568, 1568, 1, batch, 0});
      for (const Size& size : squares) dense({size.rows, size.cols, 1, batch, 0});
    }
  }

  bool empty() const { return rows_.empty(); }

 private:
  static const char* nameOf(Traversal what) {
    return what == Traversal::readNear ? "read L1" : what == Traversal::read ? "read" : "copy";
  }

  Backend& backend() { return device_->backend(); }
  bool wanted(const std::string& operation, const Shape& shape) const {
    return std::regex_search(Case{operation, shape, nullptr}.name(), filter_);
  }
  void keep(const std::string& operation, const Shape& shape, const char* item, double items, double flop, double bytes,
            std::vector<double> seconds, Roof roof) {
    std::sort(seconds.begin(), seconds.end());
    rows_.push_back({Case{operation, shape, nullptr}.name(), operation, shape, item, items, flop, bytes,
                     std::move(seconds), std::move(roof)});
    printRow(rows_.back());
    write();  // after each: whoever runs this may stop it
  }

  void write() const {
    if (settings_.json.empty()) return;
    std::FILE* file = std::fopen(settings_.json.c_str(), "w");
    if (!file) {
      std::fprintf(stderr, "Expected --json=FILE to name a file that can be written, got %s\n", settings_.json.c_str());
      std::exit(2);
    }
    const DeviceInfo& info = device_->info();
    std::fprintf(
        file,
        "{\n\"device\": %s, \"detail\": %s, \"memoryBytes\": %lld, \"l2Bytes\": %lld, \"quick\": %s,\n\"rates\": [",
        quoted(info.name).c_str(), quoted(info.detail).c_str(), static_cast<long long>(info.memoryBytes),
        static_cast<long long>(secondCache_), settings_.quick ? "true" : "false");
    const char* separator = "\n";
    for (const auto& [key, rate] : rates_) {
      std::fprintf(file, "%s{\"what\": %s, \"bytes\": %lld, \"rate\": %.6g, \"unit\": \"B/s\"}", separator,
                   quoted(nameOf(key.first)).c_str(), static_cast<long long>(key.second), rate);
      separator = ",\n";
    }
    std::fprintf(file, "],\n\"rows\": [");
    writeRows(file, rows_);
    std::fprintf(file, "]\n}\n");
    if (std::fclose(file) != 0) {
      std::fprintf(stderr, "Could not write %s\n", settings_.json.c_str());
      std::exit(1);
    }
  }

  /// Seconds a call, of each repetition: `queue(n)` queues n calls and `wait` waits for them.
  template <class Queue>
  std::vector<double> timed(const Queue& queue) {
    return timed(backend(), queue);
  }
  template <class Queue>
  std::vector<double> timed(Backend& backend, const Queue& queue) {
    const auto run = [&](int64_t calls) {
      const auto start = Clock::now();
      queue(calls);
      must(backend.synchronize());
      return std::chrono::duration<double>(Clock::now() - start).count();
    };
    run(1);
    int64_t calls = 1;
    while (run(calls) < settings_.seconds()) calls *= 2;
    std::vector<double> seconds;
    for (int i = 0; i < settings_.repetitions(); ++i) seconds.push_back(run(calls) / static_cast<double>(calls));
    return seconds;
  }

  /// Many calls in one graph; one by one where the device does not record them.
  std::vector<double> timedInGraphs(const std::function<Status()>& call) { return timedInGraphs(backend(), call); }
  std::vector<double> timedInGraphs(Backend& backend, const std::function<Status()>& call) {
    const int calls = settings_.quick ? 2 : 16;
    must(call());
    must(backend.synchronize());
    const auto all = [&] {
      for (int i = 0; i < calls; ++i) HEBB_RETURN_IF_ERROR(call());
      return Status{};
    };
    std::unique_ptr<Backend::Recording> graph;
    must(backend.record(all, &graph));
    std::vector<double> seconds = timed(backend, [&](int64_t count) {
      for (int64_t i = 0; i < count; ++i) must(graph ? graph->run() : all());
    });
    for (double& one : seconds) one /= calls;
    return seconds;
  }

  // ---- roofs

  /// A pass that left something out would make a roof of what no memory gives: copies copy all, and reads meet an
  /// infinite number wherever it lies.
  void checkTraversals() {
    constexpr int64_t kCount = 5 * kChunkBytes / 4;
    Arrays arrays(device_);
    std::mt19937 random(7);
    std::vector<float> numbers(kCount), copied(kCount);
    for (float& number : numbers) number = static_cast<float>(random() % 1000);
    float *from = arrays.copyOf(numbers), *to = arrays.zeros<float>(kCount);
    double moved = 0;
    const auto pass = [&](Traversal what) {
      must(traverse(backend(), what, from, to, kCount * 4, 1, &moved));
      must(backend().read(copied.data(), to, kCount * 4));
    };
    const auto expect = [](bool good, const char* what) {
      if (good) return;
      std::fprintf(stderr, "Expected a pass over memory to %s\n", what);
      std::exit(1);
    };
    pass(Traversal::copy);
    expect(copied == numbers && moved == 2. * kCount * 4, "copy all of it");
    for (const Traversal what : {Traversal::read, Traversal::readNear}) {
      const float nothing = -1, infinite = std::numeric_limits<float>::infinity();
      must(backend().write(to, &nothing, sizeof nothing));
      pass(what);
      expect(copied[0] == nothing, "write nothing where it reads");
      for (const size_t at : {size_t{0}, static_cast<size_t>(random()) % kCount, size_t{kCount - 1}}) {
        must(backend().write(to, &nothing, sizeof nothing));
        must(backend().write(from + at, &infinite, sizeof infinite));
        pass(what);
        expect(copied[0] == 1, "read all of it");
        must(backend().write(from + at, &numbers[at], sizeof infinite));
      }
    }
  }

  /// Bytes a second over a working set of about so many bytes: that of the next power of two.
  double rate(Traversal what, double bytes) {
    const int64_t least = kChunkBytes, most = int64_t{1} << (settings_.quick ? 17 : 30);
    int64_t size = what == Traversal::readNear ? 2 * kChunkBytes : least;
    while (what != Traversal::readNear && size < most && static_cast<double>(size) < bytes) size *= 2;
    double& rate = rates_[{what, size}];
    if (rate > 0) return rate;
    Arrays arrays(device_);
    float *from = arrays.zeros<float>(size / 4), *to = arrays.zeros<float>(size / 4);
    // Passes enough to hide a launch.
    const auto passes = static_cast<int32_t>(settings_.quick ? 1 : std::max<int64_t>(1, (int64_t{1} << 26) / size));
    double moved = 0;
    const auto seconds = timedInGraphs([&] { return traverse(backend(), what, from, to, size, passes, &moved); });
    rate = moved / *std::min_element(seconds.begin(), seconds.end());
    std::printf("  %s of %.0f KiB: %.0f GB/s\n", nameOf(what), static_cast<double>(size) / 1024, rate * 1e-9);
    return rate;
  }

  Roof roofOf(const Traffic& traffic) {
    const double set = traffic.read + traffic.write + traffic.update;
    const char* arrays = set > static_cast<double>(secondCache_) ? "arrays in memory" : "arrays in L2";
    Roof roof{
        traffic.read / rate(Traversal::read, set) + (traffic.write + 2 * traffic.update) / rate(Traversal::copy, set),
        arrays};
    const auto consider = [&](double seconds, const char* bound) {
      if (seconds > roof.seconds) roof = {seconds, bound};
    };
    const double panel = static_cast<double>(traffic.fetch.features) * traffic.fetch.rowBytes;
    consider(traffic.fetch.bytes / rate(Traversal::read, panel),
             panel > static_cast<double>(secondCache_) ? "rows from memory" : "rows from L2");
    consider(traffic.loaded() / rate(Traversal::readNear, 0), "loads from L1");
    return roof;
  }

  // ---- products

  /// Traffic is counted on the host: by an operation whose offsets lie there.
  template <class Op>
  static Traffic trafficOnHost(Op op, std::vector<int32_t>& offsets) {
    if constexpr (std::is_same_v<Op, Sddmm>) op.pattern.rowOffsets = offsets.data();
    else op.weights.rowOffsets = offsets.data();
    return trafficOf(op);
  }

  void products(const Shape& shape) {
    const char* const names[] = {"spmm", "spmmTransposed", "sddmm", "sddmm+sgd", "sddmm+spmmTransposed+sgd"};
    if (std::none_of(std::begin(names), std::end(names), [&](const char* name) { return wanted(name, shape); })) return;
    Layer layer(device_, {shape.rows, shape.cols}, shape.density, shape.batch);
    Arrays& arrays = layer.arrays;
    std::vector<int32_t> offsets(static_cast<size_t>(shape.rows) + 1);
    must(backend().read(offsets.data(), layer.csr().rowOffsets, offsets.size() * sizeof(int32_t)));
    const double links = layer.count(), product = 2 * links * shape.batch, optimizer = 6 * links;
    const auto measure = [&](const char* name, const auto& op, double flop) {
      if (!wanted(name, shape)) return;
      const Traffic traffic = trafficOnHost(op, offsets);
      const Operation operation = op;
      const auto seconds = timedInGraphs([&] { return device_->run(operation); });
      keep(name, shape, "link", links, flop, traffic.moved(), seconds, roofOf(traffic));
    };
    measure(names[0],
            Spmm{.weights = layer.csr(),
                 .values = layer.values,
                 .bias = layer.bias,
                 .input = layer.input,
                 .output = layer.output,
                 .activation = Activation::relu},
            product);
    const SpmmTransposed back{.weights = layer.csr(),
                              .values = layer.values,
                              .outputGradient = layer.outputGradient,
                              .inputGradient = layer.inputGradient,
                              .input = layer.input,
                              .activation = Activation::relu};
    measure(names[1], back, product);
    Sddmm gradient;
    gradient.pattern = layer.csr();
    gradient.outputGradient = layer.outputGradient;
    gradient.input = layer.input;
    gradient.gradient = arrays.zeros<float>(layer.links);
    gradient.biasGradient = arrays.zeros<float>(shape.rows);
    measure(names[2], gradient, product);
    // At rate 0 the same work is done and the weights stay what they are, however often it is repeated.
    const double* rate = arrays.zeros<double>(1);
    gradient.fusedValues = {layer.values, arrays.zeros<float>(layer.links), rate, kMomentum, kWeightDecay};
    gradient.fusedBias = {layer.bias, arrays.zeros<float>(shape.rows), rate, kMomentum, kWeightDecay};
    measure(names[3], gradient, product + optimizer);
    gradient.fusedTransposed = back;
    measure(names[4], gradient, 2 * product + optimizer);
  }

  // ---- products of a dense layer

  void dense(const Shape& shape) {
    const auto measure = [&](const std::shared_ptr<Device>& device, DenseProduct product, const char* how) {
      const std::string names[] = {std::string("linear, ") + how, std::string("linearTransposed, ") + how,
                                   std::string("linearGradient, ") + how};
      if (std::none_of(std::begin(names), std::end(names),
                       [&](const std::string& name) { return wanted(name, shape); }))
        return;
      Arrays arrays(device);
      const double weights = static_cast<double>(shape.rows) * shape.cols;
      const Activations input = arrays.activations(shape.cols, shape.batch),
                        output = arrays.activations(shape.rows, shape.batch);
      const Activations inputGradient = arrays.activations(shape.cols, shape.batch),
                        outputGradient = arrays.activations(shape.rows, shape.batch);
      float *values = arrays.normal(int64_t{shape.rows} * shape.cols),
            *gradient = arrays.zeros<float>(int64_t{shape.rows} * shape.cols);
      const Operation operations[] = {
          Linear{values, nullptr, input, output, Activation::none, product},
          LinearTransposed{values, outputGradient, inputGradient, {}, Activation::none, false, product},
          LinearGradient{outputGradient, input, gradient, nullptr, false, false, product}};
      for (size_t i = 0; i < std::size(operations); ++i) {
        if (!wanted(names[i], shape)) continue;
        const auto seconds = timedInGraphs(device->backend(), [&] { return device->run(operations[i]); });
        keep(names[i], shape, "weight", weights, 2 * weights * shape.batch, 0, seconds, {});
      }
    };
    measure(device_, DenseProduct::fma, "fma");
    measure(device_, DenseProduct::tensorCores, "tensor cores");
    if (withCublas_) measure(withCublas_, DenseProduct::automatic, "cuBLAS");
  }

  // ---- a training step

  void step(int32_t batch) {
    const bool quick = settings_.quick;
    const std::vector<int32_t> widths =
        quick ? std::vector<int32_t>{20, 34, 30} : std::vector<int32_t>{784, 1568, 1568, 1568};
    const double density = quick ? 0.1 : 0.01;
    const int32_t classes = 10, samples = quick ? 200 : 20000;
    std::string name = "training step ";
    for (const int32_t width : widths) name += std::to_string(width) + "-";
    name += std::to_string(classes);
    const Shape shape{0, 0, density, batch, 0};
    if (!wanted(name, shape)) return;

    std::mt19937 random(3);
    std::vector<uint8_t> images(static_cast<size_t>(samples) * static_cast<size_t>(widths[0]));
    for (uint8_t& byte : images) byte = static_cast<uint8_t>(random() >> 24);
    std::vector<int32_t> labels(static_cast<size_t>(samples));
    for (int32_t& label : labels) label = static_cast<int32_t>(random() % static_cast<uint32_t>(classes));
    NetworkOptions options{
        .widths = widths, .density = density, .batch = batch, .seed = 1, .sgd = {1e-4, kMomentum, kWeightDecay}};
    options.widths.push_back(classes);
    std::unique_ptr<Network> network;
    must(Network::create(device_, options, &network));
    must(network->setData(images, labels, 1.f / 128, -1));
    double flop = 0;
    for (const NetworkLayer& layer : network->layers()) {
      const auto weights = static_cast<double>(layer.weights());
      flop += weights * (layer.links ? (layer.index > 0 ? 6. : 4.) * batch + 6 : 6. * batch);
    }
    keep(name, shape, "sample", batch, flop, 0, timed([&](int64_t steps) { must(network->runSteps(steps)); }), {});
  }

  // ---- a topology update

  /// 30% of the links removed by magnitude, sampled, and as many regrown by CH2-L3n: all of what CHTs does to a layer
  /// but percolation.
  void update(const Shape& shape, PredictionRoute route) {
    const std::string name =
        std::string("topology update CH2-L3n") + (route == PredictionRoute::dense ? ", dense route" : "");
    if (!wanted(name, shape)) return;
    HostCsr host;
    must(networks::bipartiteReceptiveField(shape.rows, shape.cols,
                                           std::llround(shape.density * shape.rows * shape.cols), {}, 1, 0, &host));
    NetworkLayer layer;
    must(NetworkLayer::create(device_, 0, shape.cols, shape.rows, 1, &host, &layer));
    std::shared_ptr<Program> program;
    must(Program::create(device_, 4, 1, &program));
    must(layer.recordRemoval(*program, 1));
    must(layer.recordGrowth(*program, 1, route == PredictionRoute::dense ? "dense" : "sparse"));
    std::vector<double> seconds;
    double all = 0;
    for (int i = 0; i < 2 + settings_.repetitions() && (i < 3 || all < 4); ++i) {
      std::vector<double> scalars{static_cast<double>(i), 2};
      layer.addScalars(0.3, &scalars);
      must(program->begin({.scalars = scalars}));
      must(layer.initialize(1));  // new links begin at 0 and would be the next to go
      must(backend().synchronize());
      const auto start = Clock::now();
      must(program->replay(1));
      const double taken = std::chrono::duration<double>(Clock::now() - start).count();
      all += taken;
      // The first is recorded, the second leaves the initial network's regularity behind.
      if (i >= 2) seconds.push_back(taken);
    }
    keep(name, shape, "link", static_cast<double>(layer.weights()), 0, 0, std::move(seconds), {});
  }

  const Settings settings_;
  const std::regex filter_;
  std::shared_ptr<Device> device_;
  std::shared_ptr<Device> withCublas_;  // null where the machine has no cuBLAS
  int64_t secondCache_ = 0;
  std::map<std::pair<Traversal, int64_t>, double> rates_;
  std::vector<Row> rows_;
};

Settings settingsOf(int argc, char** argv) {
  Settings settings;
  for (int i = 1; i < argc; ++i) {
    const std::string arg = argv[i];
    if (arg.rfind("--filter=", 0) == 0) settings.filter = arg.substr(9);
    else if (arg.rfind("--json=", 0) == 0) settings.json = arg.substr(7);
    else if (arg == "--quick") settings.quick = true;
    else {
      std::fprintf(stderr, "Expected --filter=, --json= or --quick, got %s\n", argv[i]);
      std::exit(2);
    }
  }
  return settings;
}

}  // namespace

int main(int argc, char** argv) {
  const Settings settings = settingsOf(argc, argv);
  Bench bench(settings);
  bench.run();
  if (bench.empty()) {
    std::fprintf(stderr, "Expected --filter to match a case, got %s\n", settings.filter.c_str());
    return 2;
  }
}
