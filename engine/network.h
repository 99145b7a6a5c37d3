// A multilayer perceptron that trains and rewires, for C++ users: sparse layers with ReLU, a dense last one, softmax
// cross-entropy, SGD, and topology updates as CHTs makes them. It only records, as lib/ does for JavaScript; its
// Programs and its memory are open to whoever needs more.
//
//   std::shared_ptr<hebb::Device> device;
//   hebb::Device::openCpu({}, &device);
//   std::unique_ptr<hebb::Network> network;
//   hebb::Network::create(device, {.widths = {784, 1000, 1000, 10}, .density = 0.01}, &network);
//   network->setData(images, labels);  // std::vector<uint8_t> or <float>, and std::vector<int32_t>
//   network->runEpoch();
//   network->updateTopology();
//
// Each of them returns a Status. Calls return when their work is done; one thread at a time.
#pragma once

#include <memory>
#include <vector>

#include "hebb/host_csr.h"
#include "program.h"

namespace hebb {

struct NetworkOptions {
  struct Sgd {
    double learningRate = 0.025;
    float momentum = 0.9f, weightDecay = 0;
  };

  std::vector<int32_t> widths;  // inputs, hidden layers, classes; at least three
  double density = 0.05;        // of the sparse layers, all but the last
  int32_t batch = 32;
  uint64_t seed = 0;
  Sgd sgd{};
  std::vector<HostCsr> links{};  // of the sparse layers; empty: bipartite receptive fields
};

/// A layer's parameters, and what a topology update needs.
struct NetworkLayer {
  int32_t index = 0, inputs = 0, outputs = 0;
  std::shared_ptr<SparseMatrix> links;  // null: dense
  TensorView values, velocity, gradient, bias, biasVelocity, biasGradient;
  TensorView keep, newRows, newColumns, newCount, scores;  // sparse layers alone

  /// With random weights; dense where `links` is null.
  static Status create(const std::shared_ptr<Device>& device, int32_t index, int32_t inputs, int32_t outputs,
                       uint64_t seed, const HostCsr* links, NetworkLayer* out);

  int64_t weights() const { return links ? links->csr().capacity : int64_t{inputs} * outputs; }
  /// Normal weights of the variance 2 / (a neuron's inputs).
  Status initialize(uint64_t seed) const;

  // A topology update in two halves, between which layers percolate. The Program's scalars: the update's number, the
  // temperature, and two for each layer from kept() on.
  static constexpr int32_t kNumber = 0, kTemperature = 1;
  int32_t kept() const { return 2 + 2 * index; }   // links that stay
  int32_t after() const { return 3 + 2 * index; }  // links after the update
  /// Links that matter little are removed, by a draw.
  Status recordRemoval(Program& update, uint64_t seed) const;
  /// As many are drawn anew by CH2-L3n. `route`: Regrow's.
  Status recordGrowth(Program& update, uint64_t seed, const char* route = "auto") const;
  /// Adds this layer's two scalars.
  void addScalars(double removed, std::vector<double>* scalars) const;
};

class Network {
 public:
  static Status create(const std::shared_ptr<Device>& device, const NetworkOptions& options,
                       std::unique_ptr<Network>* out);

  /// What it trains on, copied to the device: one sample after another, and the class of each. Records the step anew.
  Status setData(const std::vector<float>& samples, const std::vector<int32_t>& labels);
  /// Features are byte * scale + shift.
  Status setData(const std::vector<uint8_t>& samples, const std::vector<int32_t>& labels, float scale = 1.f / 255,
                 float shift = 0);

  /// Trains on all samples once, in a new random order.
  Status runEpoch();
  /// Trains on the next batches, from the first one on after the last.
  Status runSteps(int64_t steps);
  /// The sums of loss and right answers since the last call.
  Status takeTotals(LossTotals* out);
  /// Replaces a share of the links of each sparse layer.
  Status updateTopology(double removed = 0.3, double temperature = 1);

  const std::vector<NetworkLayer>& layers() const { return layers_; }
  /// A training step; null without data. Its one scalar is the learning rate.
  Program* step() const { return step_.get(); }
  Program* update() const { return update_.get(); }

 private:
  Network(std::shared_ptr<Device> device, const NetworkOptions& options)
      : device_(std::move(device)), options_(options) {}
  Status makeLayers();
  Status checkData(size_t features, const std::vector<int32_t>& labels) const;
  Status useData(const Operands& samples, const std::vector<int32_t>& labels);
  Status recordStep(Program& step, const ActivationsView& input) const;
  Status recordUpdate();
  Status shuffle();

  std::shared_ptr<Device> device_;
  const NetworkOptions options_;
  std::vector<NetworkLayer> layers_;
  TensorView targets_, totals_;
  std::shared_ptr<Program> step_, update_, shuffle_;
  int64_t samples_ = 0, epoch_ = 0, updates_ = 0;
};

}  // namespace hebb
