// Records three Programs by names and operands, as lib/ does: shuffle, step and update. Operations stand in the order
// of the library's tape, so that fusion finds the same to put together.
#include "network.h"

#include <algorithm>
#include <cmath>

#include "hebb/topology.h"

namespace hebb {
namespace {

Operands changesOf(const NetworkLayer& layer) {
  return {
      {"keep", layer.keep}, {"newRows", layer.newRows}, {"newColumns", layer.newColumns}, {"newCount", layer.newCount}};
}

/// A layer's weights as the products with them take them.
Operands weightsOf(const NetworkLayer& layer) {
  if (!layer.links) return {{"weights", layer.values}};
  return {{"weights", layer.links}, {"values", layer.values}};
}

}  // namespace

Status NetworkLayer::create(const std::shared_ptr<Device>& device, int32_t index, int32_t inputs, int32_t outputs,
                            uint64_t seed, const HostCsr* links, NetworkLayer* out) {
  NetworkLayer layer;
  layer.index = index;
  layer.inputs = inputs;
  layer.outputs = outputs;
  if (links) {
    const auto& [offsets, columns] = *links;
    const auto count = static_cast<int32_t>(columns.size());
    HEBB_RETURN_IF_ERROR(SparseMatrix::create(device, outputs, inputs, count, offsets.data(), offsets.size(),
                                              columns.data(), columns.size(), &layer.links));
    HEBB_RETURN_IF_ERROR(makeTensor<uint8_t>(device, count, &layer.keep));
    HEBB_RETURN_IF_ERROR(makeTensor<int32_t>(device, count, &layer.newRows));
    HEBB_RETURN_IF_ERROR(makeTensor<int32_t>(device, count, &layer.newColumns));
    HEBB_RETURN_IF_ERROR(makeTensor<int32_t>(device, 1, &layer.newCount));
    HEBB_RETURN_IF_ERROR(makeTensor<float>(device, count, &layer.scores));
  }
  for (TensorView* tensor : {&layer.values, &layer.velocity, &layer.gradient})
    HEBB_RETURN_IF_ERROR(makeTensor<float>(device, layer.weights(), tensor));
  for (TensorView* tensor : {&layer.bias, &layer.biasVelocity, &layer.biasGradient})
    HEBB_RETURN_IF_ERROR(makeTensor<float>(device, outputs, tensor));
  HEBB_RETURN_IF_ERROR(layer.initialize(seed));
  *out = std::move(layer);
  return {};
}

Status NetworkLayer::initialize(uint64_t seed) const {
  return values.buffer->device()->run(
      InitializeNormal{{.pattern = links ? links->csr() : Csr{.rows = outputs, .cols = inputs},
                        .values = values.buffer->data<float>(),
                        .deviation = std::sqrt(2. * outputs / static_cast<double>(weights())),
                        .seed = seed,
                        .layer = index}});
}

Status NetworkLayer::recordRemoval(Program& update, uint64_t seed) const {
  HEBB_RETURN_IF_ERROR(update.record("beginUpdate", {{"links", links}, {"changes", changesOf(*this)}}));
  HEBB_RETURN_IF_ERROR(update.record(
      "importance", {{"links", links}, {"values", values}, {"keep", keep}, {"rule", "magnitude"}, {"scores", scores}}));
  return update.record("keepLinks", {{"links", links},
                                     {"scores", scores},
                                     {"keep", keep},
                                     {"count", kept()},
                                     {"temperature", kTemperature},
                                     {"update", kNumber},
                                     {"seed", static_cast<int64_t>(seed)},
                                     {"purpose", "remove"},
                                     {"layer", index}});
}

Status NetworkLayer::recordGrowth(Program& update, uint64_t seed, const char* route) const {
  HEBB_RETURN_IF_ERROR(update.record("regrow", {{"links", links},
                                                {"changes", changesOf(*this)},
                                                {"predictor", "CH2-L3n"},
                                                {"selection", "sample"},
                                                {"route", route},
                                                {"count", after()},
                                                {"update", kNumber},
                                                {"seed", static_cast<int64_t>(seed)},
                                                {"layer", index}}));
  return update.record("rebuild",
                       {{"links", links}, {"changes", changesOf(*this)}, {"arrays", OperandList{values, velocity}}});
}

void NetworkLayer::addScalars(double removed, std::vector<double>* scalars) const {
  const auto count = static_cast<double>(weights());
  scalars->insert(scalars->end(), {std::ceil((1 - removed) * count), count});
}

Status Network::create(const std::shared_ptr<Device>& device, const NetworkOptions& options,
                       std::unique_ptr<Network>* out) {
  const auto& widths = options.widths;
  if (widths.size() < 3 || *std::min_element(widths.begin(), widths.end()) < 1)
    return refuse("Expected at least three widths, each at least 1");
  if (!options.links.empty() && options.links.size() != widths.size() - 2) {
    return refuse("Expected the links of " + std::to_string(widths.size() - 2) + " layers, got those of " +
                  std::to_string(options.links.size()));
  }
  if (!(options.density > 0 && options.density <= 1))
    return refuse("Expected density to be above 0, up to 1, got " + std::to_string(options.density));
  std::unique_ptr<Network> network(new Network(device, options));
  HEBB_RETURN_IF_ERROR(network->makeLayers());
  HEBB_RETURN_IF_ERROR(network->recordUpdate());
  *out = std::move(network);
  return {};
}

Status Network::makeLayers() {
  const auto& [widths, density, batch, seed, sgd, links] = options_;
  for (size_t i = 0; i < widths.size(); ++i) {
    if (i == 0) continue;
    const int32_t rows = widths[i], cols = widths[i - 1], index = static_cast<int32_t>(i) - 1;
    const bool isSparse = i + 1 < widths.size();
    HostCsr made;
    if (isSparse && links.empty()) {
      const int64_t count = std::max<int64_t>(1, std::llround(density * rows * cols));
      HEBB_RETURN_IF_ERROR(networks::bipartiteReceptiveField(rows, cols, count, {}, seed, index, &made));
    }
    const HostCsr* layerLinks = !isSparse ? nullptr : links.empty() ? &made : &links[i - 1];
    layers_.emplace_back();
    HEBB_RETURN_IF_ERROR(NetworkLayer::create(device_, index, cols, rows, seed, layerLinks, &layers_.back()));
  }
  HEBB_RETURN_IF_ERROR(makeTensor<int32_t>(device_, batch, &targets_));
  return makeTensor(device_, std::vector<LossTotals>(1), &totals_);
}

Status Network::setData(const std::vector<float>& samples, const std::vector<int32_t>& labels) {
  HEBB_RETURN_IF_ERROR(checkData(samples.size(), labels));
  TensorView data;
  HEBB_RETURN_IF_ERROR(makeTensor(device_, samples, &data));
  return useData({{"floats", data}}, labels);
}

Status Network::setData(const std::vector<uint8_t>& samples, const std::vector<int32_t>& labels, float scale,
                        float shift) {
  HEBB_RETURN_IF_ERROR(checkData(samples.size(), labels));
  TensorView data;
  HEBB_RETURN_IF_ERROR(makeTensor(device_, samples, &data));
  return useData({{"bytes", data}, {"scale", double{scale}}, {"shift", double{shift}}}, labels);
}

Status Network::checkData(size_t features, const std::vector<int32_t>& labels) const {
  const int32_t classes = layers_.back().outputs;
  const auto samples = static_cast<int64_t>(labels.size());
  if (labels.empty() || features != labels.size() * static_cast<size_t>(layers_[0].inputs)) {
    return refuse("Expected samples of " + std::to_string(layers_[0].inputs) + " features and a label each, got " +
                  std::to_string(features) + " features and " + std::to_string(samples) + " labels");
  }
  for (const int32_t label : labels) {
    if (label < 0 || label >= classes)
      return refuse("Expected labels below " + std::to_string(classes) + ", got " + std::to_string(label));
  }
  return {};
}

/// What was trained on before stays until the new step is recorded.
Status Network::useData(const Operands& samples, const std::vector<int32_t>& labels) {
  const auto count = static_cast<int64_t>(labels.size());
  TensorView classes, order;
  std::shared_ptr<Program> shuffle, step;
  HEBB_RETURN_IF_ERROR(makeTensor(device_, labels, &classes));
  HEBB_RETURN_IF_ERROR(makeTensor<int32_t>(device_, count, &order));
  HEBB_RETURN_IF_ERROR(Program::create(device_, 1, 1, &shuffle));
  const auto seed = static_cast<int64_t>(options_.seed);
  HEBB_RETURN_IF_ERROR(
      shuffle->record("permute", {{"count", count}, {"indices", order}, {"seed", seed}, {"epoch", 0}}));
  HEBB_RETURN_IF_ERROR(Program::create(device_, 1, options_.batch, &step));
  const Operands stream{{"samples", count}, {"indices", order}, {"count", count}};
  ActivationsView input;
  HEBB_RETURN_IF_ERROR(step->makeValue(layers_[0].inputs, Lifetime::step, &input));
  HEBB_RETURN_IF_ERROR(step->record("gather", samples.with({{"output", input}}).with(stream)));
  HEBB_RETURN_IF_ERROR(step->record("gatherLabels", stream.with({{"labels", classes}, {"targets", targets_}})));
  HEBB_RETURN_IF_ERROR(recordStep(*step, input));
  samples_ = count;
  shuffle_ = std::move(shuffle);
  step_ = std::move(step);
  return this->shuffle();
}

/// Operations in the order of the library's tape: from the last layer back, first what reads the weights and then their
/// gradient, into which the optimizer's step can be fused.
Status Network::recordStep(Program& step, const ActivationsView& input) const {
  const auto& [learningRate, momentum, weightDecay] = options_.sgd;
  const size_t last = layers_.size() - 1;
  const auto value = [&](int32_t features, ActivationsView* out) {
    return step.makeValue(features, Lifetime::step, out);
  };
  std::vector<ActivationsView> inputs{input};  // of each layer
  ActivationsView output, outputGradient;
  for (size_t i = 0; i <= last; ++i) {
    const NetworkLayer& layer = layers_[i];
    HEBB_RETURN_IF_ERROR(value(layer.outputs, &output));
    HEBB_RETURN_IF_ERROR(
        step.record(layer.links ? "spmm" : "linear",
                    weightsOf(layer).with({{"bias", layer.bias}, {"input", inputs[i]}, {"output", output}})));
    if (i == last) break;
    inputs.emplace_back();
    HEBB_RETURN_IF_ERROR(value(layer.outputs, &inputs.back()));
    HEBB_RETURN_IF_ERROR(step.record("relu", {{"input", output}, {"output", inputs.back()}}));
  }
  HEBB_RETURN_IF_ERROR(value(layers_[last].outputs, &outputGradient));
  HEBB_RETURN_IF_ERROR(
      step.record("softmaxCrossEntropy",
                  {{"logits", output}, {"targets", targets_}, {"gradient", outputGradient}, {"totals", totals_}}));
  for (size_t i = last + 1; i-- > 0;) {
    const NetworkLayer& layer = layers_[i];
    const Operands product{{"outputGradient", outputGradient}};
    ActivationsView inputGradient;
    if (i > 0) {
      HEBB_RETURN_IF_ERROR(value(layer.inputs, &inputGradient));
      HEBB_RETURN_IF_ERROR(step.record(layer.links ? "spmmTransposed" : "linearTransposed",
                                       weightsOf(layer).with(product).with({{"inputGradient", inputGradient}})));
    }
    Operands gradient =
        product.with({{"input", inputs[i]}, {"gradient", layer.gradient}, {"biasGradient", layer.biasGradient}});
    if (layer.links) gradient.add({"pattern", layer.links});
    HEBB_RETURN_IF_ERROR(step.record(layer.links ? "sddmm" : "linearGradient", gradient));
    if (i == 0) break;
    HEBB_RETURN_IF_ERROR(value(layer.inputs, &outputGradient));
    HEBB_RETURN_IF_ERROR(step.record(
        "reluGradient", {{"output", inputs[i]}, {"outputGradient", inputGradient}, {"inputGradient", outputGradient}}));
  }
  const Operands rule{{"learningRate", 0}, {"momentum", double{momentum}}, {"weightDecay", double{weightDecay}}};
  for (const NetworkLayer& layer : layers_) {
    Operands weights =
        rule.with({{"values", layer.values}, {"velocity", layer.velocity}, {"gradient", layer.gradient}});
    weights.add(layer.links ? NamedOperand{"pattern", layer.links} : NamedOperand{"count", layer.weights()});
    HEBB_RETURN_IF_ERROR(step.record("sgd", weights));
    HEBB_RETURN_IF_ERROR(step.record("sgd", rule.with({{"count", layer.outputs},
                                                       {"values", layer.bias},
                                                       {"velocity", layer.biasVelocity},
                                                       {"gradient", layer.biasGradient}})));
  }
  return step.begin({.scalars = {learningRate}});
}

Status Network::recordUpdate() {
  const uint64_t seed = options_.seed;
  const auto sparse = static_cast<int32_t>(layers_.size()) - 1;
  HEBB_RETURN_IF_ERROR(Program::create(device_, 2 + 2 * sparse, 1, &update_));
  OperandList layers, relations;
  for (const NetworkLayer& layer : layers_) {
    if (!layer.links) continue;
    HEBB_RETURN_IF_ERROR(layer.recordRemoval(*update_, seed));
    layers.push_back(Operands{{"links", layer.links}, {"keep", layer.keep}});
    if (layer.index == 0) continue;
    relations.push_back(Operands{{"first", layer.index - 1}, {"second", layer.index}, {"kind", "consecutive"}});
  }
  HEBB_RETURN_IF_ERROR(update_->record("percolate", {{"layers", layers}, {"relations", relations}}));
  for (const NetworkLayer& layer : layers_) {
    if (layer.links) HEBB_RETURN_IF_ERROR(layer.recordGrowth(*update_, seed));
  }
  return {};
}

Status Network::shuffle() {
  HEBB_RETURN_IF_ERROR(shuffle_->begin({.scalars = {static_cast<double>(epoch_)}}));
  HEBB_RETURN_IF_ERROR(shuffle_->replay(1));
  return step_->begin({.samples = samples_});
}

Status Network::runEpoch() {
  if (!step_) return refuse("Expected data to train on, got none: call setData() first");
  HEBB_RETURN_IF_ERROR(shuffle());
  ++epoch_;
  return step_->replay((samples_ + options_.batch - 1) / options_.batch);
}

Status Network::runSteps(int64_t steps) {
  if (!step_) return refuse("Expected data to train on, got none: call setData() first");
  return step_->replay(steps);
}

Status Network::takeTotals(LossTotals* out) {
  const LossTotals none;
  HEBB_RETURN_IF_ERROR(device_->backend().read(out, totals_.buffer->data(), sizeof none));
  return device_->backend().write(totals_.buffer->data(), &none, sizeof none);
}

Status Network::updateTopology(double removed, double temperature) {
  if (!(removed >= 0 && removed <= 1))
    return refuse("Expected the share of links to remove to be from 0 to 1, got " + std::to_string(removed));
  std::vector<double> scalars{static_cast<double>(updates_), temperature};
  for (const NetworkLayer& layer : layers_) {
    if (layer.links) layer.addScalars(removed, &scalars);
  }
  HEBB_RETURN_IF_ERROR(update_->begin({.scalars = scalars}));
  HEBB_RETURN_IF_ERROR(update_->replay(1));
  ++updates_;
  return {};
}

}  // namespace hebb
