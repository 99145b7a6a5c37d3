// A network trains and rewires on the emulated GPU: every kernel of a step and of a topology update runs, in each order
// of blocks and threads, and all orders must give the same bits. Built plainly and under sanitizers; what the numbers
// should be is tested by test/ops.
#include <cmath>
#include <cstdio>
#include <string>
#include <vector>

#include "device.h"
#include "machine.h"
#include "program.h"
#include "sparse_matrix.h"

namespace hebb {
namespace {

constexpr int32_t kInputs = 33, kHidden = 41, kClasses = 5, kSamples = 90, kBatch = 37, kLinks = 300, kCapacity = 340;
constexpr int32_t kWide = 72, kWideOut = 67;  // a dense layer for tensor cores

/// Numbers in [-1, 1) that depend on nothing but the place.
float numberAt(uint32_t i) { return static_cast<float>((i * 2654435761u) >> 8) / static_cast<float>(1 << 23) - 1.f; }

/// What is left after training: bits to compare.
using Bits = std::vector<unsigned char>;

class Training {
 public:
  Status run(Bits* bits) {
    HEBB_RETURN_IF_ERROR(Device::openCuda(0, &device_));
    HEBB_RETURN_IF_ERROR(make());
    for (int update = 0; update < 3; ++update) {
      HEBB_RETURN_IF_ERROR(step_->replay(4));
      HEBB_RETURN_IF_ERROR(update_->begin({.scalars = {static_cast<double>(update), 1.5, 200, kLinks}}));
      HEBB_RETURN_IF_ERROR(prune_->begin({.scalars = {static_cast<double>(update), kLinks - 10}}));
      HEBB_RETURN_IF_ERROR(prune_->replay(1));
      HEBB_RETURN_IF_ERROR(update_->replay(1));
    }
    LossTotals totals;
    HEBB_RETURN_IF_ERROR(device_->backend().read(&totals, totals_.buffer->data(), sizeof totals));
    if (!(totals.weight > 0) || !std::isfinite(totals.loss))
      return {Code::internal, "the loss is " + std::to_string(totals.loss)};
    HEBB_RETURN_IF_ERROR(keep(bits, matrix_->csr().rowOffsets, sizeof(int32_t) * (kHidden + 1)));
    HEBB_RETURN_IF_ERROR(keep(bits, matrix_->csr().columnIndices, sizeof(int32_t) * kLinks));
    HEBB_RETURN_IF_ERROR(keep(bits, values_.buffer->data(), sizeof(float) * kLinks));
    for (const TensorView& tensor : {dense_, wide_, totals_, returned_})
      HEBB_RETURN_IF_ERROR(keep(bits, tensor.buffer->data(), tensor.buffer->bytes()));
    return device_->backend().synchronize();
  }

  /// Steps are one call each and leave the host alone: what comes back is what tells whether all went well, once a
  /// replay.
  Status epoch(int64_t steps, emulation::Counters* before, emulation::Counters* after) {
    HEBB_RETURN_IF_ERROR(Device::openCuda(0, &device_));
    HEBB_RETURN_IF_ERROR(make());
    HEBB_RETURN_IF_ERROR(step_->replay(1));  // one by one, and recorded
    *before = emulation::counters();
    HEBB_RETURN_IF_ERROR(step_->replay(steps));
    *after = emulation::counters();
    return {};
  }

 private:
  Status keep(Bits* bits, const void* memory, size_t bytes) {
    const size_t at = bits->size();
    bits->resize(at + bytes);
    return device_->backend().read(bits->data() + at, memory, bytes);
  }

  template <class T>
  Status make(int64_t count, std::initializer_list<TensorView*> tensors) {
    for (TensorView* tensor : tensors) HEBB_RETURN_IF_ERROR(makeTensor<T>(device_, count, tensor));
    return {};
  }
  Status makeBatches(int32_t features, std::initializer_list<ActivationsView*> batches) {
    for (ActivationsView* one : batches) HEBB_RETURN_IF_ERROR(makeActivations(device_, features, kBatch, one));
    return {};
  }

  Status make() {
    // Links: each row has some, row 7 has none.
    std::vector<int32_t> offsets{0}, columns;
    for (int32_t row = 0; row < kHidden; ++row) {
      for (int32_t c = 0; c < kInputs; ++c) {
        if (row != 7 && (row * 31 + c * 17) % 5 == 0 && static_cast<int32_t>(columns.size()) < kLinks)
          columns.push_back(c);
      }
      offsets.push_back(static_cast<int32_t>(columns.size()));
    }
    HEBB_RETURN_IF_ERROR(SparseMatrix::create(device_, kHidden, kInputs, kCapacity, offsets.data(), offsets.size(),
                                              columns.data(), columns.size(), &matrix_));
    HEBB_RETURN_IF_ERROR(Program::create(device_, 1, kBatch, &step_));
    HEBB_RETURN_IF_ERROR(Program::create(device_, 2, 1, &prune_));
    HEBB_RETURN_IF_ERROR(Program::create(device_, 4, kBatch, &update_));

    HEBB_RETURN_IF_ERROR(make<float>(kCapacity, {&values_, &velocity_, &scores_}));
    HEBB_RETURN_IF_ERROR(make<float>(kClasses * kHidden, {&dense_}));
    HEBB_RETURN_IF_ERROR(make<float>(kWide * kWideOut, {&wide_}));
    HEBB_RETURN_IF_ERROR(makeTensor(device_, std::vector<LossTotals>(1), &totals_));
    HEBB_RETURN_IF_ERROR(make<int32_t>(2, {&returned_}));
    HEBB_RETURN_IF_ERROR(makeBatches(kInputs, {&x_}));
    HEBB_RETURN_IF_ERROR(makeBatches(kHidden, {&dHidden_}));
    const Csr dense{.rows = kClasses, .cols = kHidden}, wide{.rows = kWideOut, .cols = kWide};
    HEBB_RETURN_IF_ERROR(device_->run(InitializeNormal{{matrix_->csr(), values_.buffer->data<float>(), 0.3, 1, 0}}));
    HEBB_RETURN_IF_ERROR(device_->run(InitializeNormal{{dense, dense_.buffer->data<float>(), 0.2, 1, 1}}));
    HEBB_RETURN_IF_ERROR(device_->run(InitializeNormal{{wide, wide_.buffer->data<float>(), 0.2, 1, 2}}));
    HEBB_RETURN_IF_ERROR(recordStep());
    HEBB_RETURN_IF_ERROR(recordWideLayer());
    HEBB_RETURN_IF_ERROR(step_->begin({.scalars = {0.05}, .samples = kSamples}));
    HEBB_RETURN_IF_ERROR(recordPrune());
    return recordUpdate();
  }

  Status recordStep() {
    std::vector<float> data;
    std::vector<int32_t> classOf;
    for (uint32_t i = 0; i < kSamples * kInputs; ++i) data.push_back(numberAt(i));
    for (int32_t i = 0; i < kSamples; ++i) classOf.push_back(i % kClasses);
    TensorView samples, labels, targets, order, gradient, bias, biasGradient, denseGradient;
    HEBB_RETURN_IF_ERROR(makeTensor(device_, data, &samples));
    HEBB_RETURN_IF_ERROR(makeTensor(device_, classOf, &labels));
    HEBB_RETURN_IF_ERROR(make<int32_t>(kBatch, {&targets}));
    HEBB_RETURN_IF_ERROR(make<int32_t>(kSamples, {&order}));
    HEBB_RETURN_IF_ERROR(make<float>(kCapacity, {&gradient}));
    HEBB_RETURN_IF_ERROR(make<float>(kHidden, {&bias, &biasGradient}));
    HEBB_RETURN_IF_ERROR(make<float>(kClasses * kHidden, {&denseGradient}));
    HEBB_RETURN_IF_ERROR(device_->run(Permute{.indices = order.buffer->data<int32_t>(), .count = kSamples, .seed = 5}));
    ActivationsView dx, hidden, rectified, dRectified, y, dy;
    HEBB_RETURN_IF_ERROR(makeBatches(kInputs, {&dx}));
    HEBB_RETURN_IF_ERROR(makeBatches(kHidden, {&hidden, &rectified, &dRectified}));
    HEBB_RETURN_IF_ERROR(makeBatches(kClasses, {&y, &dy}));

    const auto step = [&](const char* name, const Operands& operands) { return step_->record(name, operands); };
    const Operands stream{{"samples", kSamples}, {"indices", order}, {"count", kSamples}};
    HEBB_RETURN_IF_ERROR(step("gather", stream.with({{"floats", samples}, {"output", x_}})));
    HEBB_RETURN_IF_ERROR(step("gatherLabels", stream.with({{"labels", labels}, {"targets", targets}})));
    HEBB_RETURN_IF_ERROR(
        step("spmm", {{"weights", matrix_}, {"values", values_}, {"bias", bias}, {"input", x_}, {"output", hidden}}));
    HEBB_RETURN_IF_ERROR(step("relu", {{"input", hidden}, {"output", rectified}}));
    HEBB_RETURN_IF_ERROR(step("linear", {{"weights", dense_}, {"input", rectified}, {"output", y}}));
    HEBB_RETURN_IF_ERROR(
        step("softmaxCrossEntropy", {{"logits", y}, {"targets", targets}, {"gradient", dy}, {"totals", totals_}}));
    HEBB_RETURN_IF_ERROR(
        step("linearGradient", {{"outputGradient", dy}, {"input", rectified}, {"gradient", denseGradient}}));
    HEBB_RETURN_IF_ERROR(
        step("linearTransposed", {{"weights", dense_}, {"outputGradient", dy}, {"inputGradient", dRectified}}));
    HEBB_RETURN_IF_ERROR(
        step("reluGradient", {{"output", rectified}, {"outputGradient", dRectified}, {"inputGradient", dHidden_}}));
    HEBB_RETURN_IF_ERROR(
        step("spmmTransposed",
             {{"weights", matrix_}, {"values", values_}, {"outputGradient", dHidden_}, {"inputGradient", dx}}));
    HEBB_RETURN_IF_ERROR(step("sddmm", {{"pattern", matrix_},
                                        {"outputGradient", dHidden_},
                                        {"input", x_},
                                        {"gradient", gradient},
                                        {"biasGradient", biasGradient}}));
    HEBB_RETURN_IF_ERROR(step("sgd", {{"pattern", matrix_},
                                      {"values", values_},
                                      {"velocity", velocity_},
                                      {"gradient", gradient},
                                      {"learningRate", 0},
                                      {"momentum", 0.9},
                                      {"weightDecay", 1e-4}}));
    HEBB_RETURN_IF_ERROR(
        step("sgd", {{"count", kHidden}, {"values", bias}, {"gradient", biasGradient}, {"learningRate", 0}}));
    return step("sgd",
                {{"count", kClasses * kHidden}, {"values", dense_}, {"gradient", denseGradient}, {"learningRate", 0}});
  }

  /// A layer that is worth tensor cores learns to give its own input back.
  Status recordWideLayer() {
    ActivationsView input, output, dInput, dOutput;
    HEBB_RETURN_IF_ERROR(makeBatches(kWide, {&input, &dInput}));
    HEBB_RETURN_IF_ERROR(makeBatches(kWideOut, {&output, &dOutput}));
    std::vector<float> numbers;
    for (size_t i = 0; i < input.buffer->bytes() / sizeof(float); ++i)
      numbers.push_back(numberAt(static_cast<uint32_t>(i) + 7));
    HEBB_RETURN_IF_ERROR(device_->backend().write(input.buffer->data(), numbers.data(), input.buffer->bytes()));
    ActivationsView target = input;
    target.rows = kWide;
    target.features = kWideOut;
    TensorView gradient, firstMoment, secondMoment, steps;
    HEBB_RETURN_IF_ERROR(make<float>(kWide * kWideOut, {&gradient, &firstMoment, &secondMoment, &steps}));
    const auto step = [&](const char* name, const Operands& operands) { return step_->record(name, operands); };
    HEBB_RETURN_IF_ERROR(step("linear", {{"weights", wide_}, {"input", input}, {"output", output}}));
    HEBB_RETURN_IF_ERROR(
        step("meanSquaredError", {{"output", output}, {"target", target}, {"gradient", dOutput}, {"totals", totals_}}));
    HEBB_RETURN_IF_ERROR(
        step("linearGradient", {{"outputGradient", dOutput}, {"input", input}, {"gradient", gradient}}));
    HEBB_RETURN_IF_ERROR(
        step("linearTransposed", {{"weights", wide_}, {"outputGradient", dOutput}, {"inputGradient", dInput}}));
    return step("adam", {{"count", kWide * kWideOut},
                         {"values", wide_},
                         {"gradient", gradient},
                         {"firstMoment", firstMoment},
                         {"secondMoment", secondMoment},
                         {"steps", steps},
                         {"learningRate", 0}});
  }

  /// What both updates of the layer change.
  Status makeChanges(Operands* changes) {
    TensorView keep, newRows, newColumns, newCount;
    HEBB_RETURN_IF_ERROR(make<uint8_t>(kCapacity, {&keep}));
    HEBB_RETURN_IF_ERROR(make<int32_t>(kCapacity, {&newRows, &newColumns}));
    HEBB_RETURN_IF_ERROR(make<int32_t>(1, {&newCount}));
    *changes = {{"keep", keep}, {"newRows", newRows}, {"newColumns", newColumns}, {"newCount", newCount}};
    return {};
  }

  /// From a pool of every other link that there may be.
  Status recordPrune() {
    std::vector<int32_t> offsets{0}, columns;
    for (int32_t row = 0; row < kHidden; ++row) {
      for (int32_t c = row % 2; c < kInputs; c += 2) columns.push_back(c);
      offsets.push_back(static_cast<int32_t>(columns.size()));
    }
    const auto count = static_cast<int32_t>(columns.size());
    std::shared_ptr<SparseMatrix> links;
    HEBB_RETURN_IF_ERROR(SparseMatrix::create(device_, kHidden, kInputs, count, offsets.data(), offsets.size(),
                                              columns.data(), columns.size(), &links));
    TensorView values, keep, scores;
    HEBB_RETURN_IF_ERROR(make<float>(count, {&values, &scores}));
    HEBB_RETURN_IF_ERROR(make<uint8_t>(count, {&keep}));
    Operands changes;
    HEBB_RETURN_IF_ERROR(makeChanges(&changes));
    const Operands pool{{"links", links}, {"values", values}, {"keep", keep}};
    const auto prune = [&](const char* name, const Operands& operands) { return prune_->record(name, operands); };
    HEBB_RETURN_IF_ERROR(prune("beginUpdate", {{"links", matrix_}, {"changes", changes}}));
    HEBB_RETURN_IF_ERROR(prune("openPool", {{"links", matrix_}, {"values", values_}, {"pool", pool}}));
    HEBB_RETURN_IF_ERROR(prune("importance", pool.with({{"rule", "magnitude"}, {"scores", scores}})));
    HEBB_RETURN_IF_ERROR(prune("keepLinks", {{"links", links},
                                             {"scores", scores},
                                             {"keep", keep},
                                             {"count", 1},
                                             {"update", 0},
                                             {"seed", 1},
                                             {"purpose", "prune"},
                                             {"layer", 0}}));
    HEBB_RETURN_IF_ERROR(prune("chooseFromPool", {{"links", matrix_}, {"changes", changes}, {"pool", pool}}));
    HEBB_RETURN_IF_ERROR(
        prune("rebuild", {{"links", matrix_}, {"changes", changes}, {"arrays", OperandList{values_, velocity_}}}));
    return prune("restoreWeights", {{"links", matrix_}, {"values", values_}, {"pool", pool}});
  }

  Status recordUpdate() {
    TensorView ever, everBits, everCount, everBitsCount, active;
    HEBB_RETURN_IF_ERROR(make<uint64_t>(int64_t{kHidden} * kInputs, {&ever}));
    HEBB_RETURN_IF_ERROR(make<uint64_t>(kHidden * UniteLinks::wordsOf(kInputs), {&everBits}));
    HEBB_RETURN_IF_ERROR(make<int64_t>(1, {&everCount, &everBitsCount}));
    HEBB_RETURN_IF_ERROR(make<int32_t>(3, {&active}));
    Operands changes;
    HEBB_RETURN_IF_ERROR(makeChanges(&changes));
    const Operand keep = *changes.find("keep");
    const auto update = [&](const char* name, const Operands& operands) { return update_->record(name, operands); };
    const Operands links{{"links", matrix_}}, layer = links.with({{"changes", changes}});
    HEBB_RETURN_IF_ERROR(
        update("uniteLinks", links.with({{"ever", ever}, {"capacity", kHidden * kInputs}, {"count", everCount}})));
    HEBB_RETURN_IF_ERROR(update("uniteLinks", links.with({{"bits", everBits}, {"count", everBitsCount}})));
    HEBB_RETURN_IF_ERROR(update("beginUpdate", layer));
    HEBB_RETURN_IF_ERROR(update(
        "importance", links.with({{"values", values_}, {"keep", keep}, {"rule", "relative"}, {"scores", scores_}})));
    HEBB_RETURN_IF_ERROR(update("keepLinks", links.with({{"scores", scores_},
                                                         {"keep", keep},
                                                         {"count", 2},
                                                         {"temperature", 1},
                                                         {"update", 0},
                                                         {"seed", 1},
                                                         {"purpose", "remove"},
                                                         {"layer", 0}})));
    HEBB_RETURN_IF_ERROR(
        update("percolate", {{"layers", OperandList{links.with({{"keep", keep}})}}, {"relations", OperandList{}}}));
    // Each chooses anew: what counts here is that its kernels run, too.
    const Operands growth = layer.with({{"count", 3}, {"update", 0}, {"seed", 1}, {"layer", 0}});
    HEBB_RETURN_IF_ERROR(update("regrowByGradient", growth.with({{"input", x_}, {"outputGradient", dHidden_}})));
    for (const auto& [predictor, route] :
         {std::pair{"CH3-L3n", "dense"}, std::pair{"CH2-L3n", "sparse"}, std::pair{"CH3-L3p", "auto"}}) {
      HEBB_RETURN_IF_ERROR(
          update("regrow", growth.with({{"predictor", predictor}, {"selection", "sample"}, {"route", route}})));
    }
    HEBB_RETURN_IF_ERROR(update("returnedLinks", layer.with({{"counts", returned_}})));
    HEBB_RETURN_IF_ERROR(update("rebuild", layer.with({{"arrays", OperandList{values_, velocity_}}})));
    return update("activeNeurons", links.with({{"counts", active}}));
  }

  std::shared_ptr<Device> device_;
  std::shared_ptr<SparseMatrix> matrix_;
  std::shared_ptr<Program> step_, prune_, update_;
  TensorView values_, velocity_, scores_, dense_, wide_, totals_, returned_;
  ActivationsView x_, dHidden_;
};

int orders() {
  using emulation::Order;
  Bits first;
  for (auto [order, seed, name] : {std::tuple{Order::forward, 0, "forward"},
                                   {Order::reversed, 0, "reversed"},
                                   {Order::random, 1, "random:1"},
                                   {Order::random, 2, "random:2"}}) {
    emulation::setOrder(order, static_cast<uint64_t>(seed));
    Bits bits;
    const Status status = Training().run(&bits);
    if (!status.ok()) {
      std::printf("%s: %s\n", name, status.message().c_str());
      return 1;
    }
    if (first.empty()) first = bits;
    if (bits != first) {
      std::printf("%s: Expected the bits of the first order\n", name);
      return 1;
    }
    const emulation::Counters counters = emulation::counters();
    if (counters.liveAllocations || counters.liveBytes) {
      std::printf("%s: Expected all memory back, %lld bytes are not\n", name,
                  static_cast<long long>(counters.liveBytes));
      return 1;
    }
    std::printf("%s: %lld launches, %lld allocations, %lld switches so far\n", name,
                static_cast<long long>(counters.launches), static_cast<long long>(counters.allocations),
                static_cast<long long>(counters.switches));
  }
  return 0;
}

int epoch() {
  for (const int64_t steps : {1, 20, 60}) {
    emulation::Counters before, after;
    const Status status = Training().epoch(steps, &before, &after);
    if (!status.ok()) {
      std::printf("%s\n", status.message().c_str());
      return 1;
    }
    const int64_t graphs = after.graphLaunches - before.graphLaunches, toHost = after.toHost - before.toHost,
                  toDevice = after.toDevice - before.toDevice, allocations = after.allocations - before.allocations;
    std::printf("%lld steps: %lld graphs, %lld copies to the host, %lld to the device, %lld allocations\n",
                static_cast<long long>(steps), static_cast<long long>(graphs), static_cast<long long>(toHost),
                static_cast<long long>(toDevice), static_cast<long long>(allocations));
    if (graphs != steps || toHost > 1 || toDevice != 0 || allocations != 0) {
      std::printf("Expected a graph for each step, one copy to the host at most, and nothing else\n");
      return 1;
    }
  }
  return 0;
}

/// A failure at every allocation ends in an error and leaves nothing behind. Two in a row: the device tries twice.
int failures() {
  for (int64_t n = 1;; ++n) {
    emulation::failAllocations(n, 2);
    Bits bits;
    const Status status = Training().run(&bits);
    emulation::failAllocations(0);
    if (emulation::counters().liveAllocations) {
      std::printf("allocation %lld fails: Expected all memory back\n", static_cast<long long>(n));
      return 1;
    }
    if (status.ok()) {
      std::printf("%lld allocations failed, one a run\n", static_cast<long long>(n - 1));
      return n > 30 ? 0 : 1;
    }
    if (status.code() != Code::outOfMemory) {
      std::printf("allocation %lld fails: Expected outOfMemory, got %s\n", static_cast<long long>(n),
                  status.message().c_str());
      return 1;
    }
  }
}

}  // namespace
}  // namespace hebb

// With the argument "failures": allocations fail, one by one. With "epoch": what many steps ask of the device.
int main(int count, char** arguments) {
  const std::string what = count > 1 ? arguments[1] : "orders";
  return what == "failures" ? hebb::failures() : what == "epoch" ? hebb::epoch() : hebb::orders();
}
