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
      HEBB_RETURN_IF_ERROR(update_->setScalars({static_cast<double>(update), 1.5, 200, kLinks}));
      HEBB_RETURN_IF_ERROR(prune_->setScalars({static_cast<double>(update), kLinks - 10}));
      HEBB_RETURN_IF_ERROR(prune_->replay(1));
      HEBB_RETURN_IF_ERROR(update_->replay(1));
    }
    LossTotals totals;
    HEBB_RETURN_IF_ERROR(device_->backend().read(&totals, totals_, sizeof totals));
    if (!(totals.columns > 0) || !std::isfinite(totals.loss))
      return {Code::internal, "the loss is " + std::to_string(totals.loss)};
    HEBB_RETURN_IF_ERROR(keep(bits, matrix_->csr().rowOffsets, sizeof(int32_t) * (kHidden + 1)));
    HEBB_RETURN_IF_ERROR(keep(bits, matrix_->csr().columnIndices, sizeof(int32_t) * kLinks));
    HEBB_RETURN_IF_ERROR(keep(bits, values_, sizeof(float) * kLinks));
    HEBB_RETURN_IF_ERROR(keep(bits, dense_, sizeof(float) * kClasses * kHidden));
    HEBB_RETURN_IF_ERROR(keep(bits, wide_, sizeof(float) * kWide * kWideOut));
    HEBB_RETURN_IF_ERROR(keep(bits, totals_, sizeof totals));
    HEBB_RETURN_IF_ERROR(keep(bits, returned_, sizeof(int32_t) * 2));
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
  Status array(int64_t count, T** out) {
    std::shared_ptr<Buffer> buffer;
    HEBB_RETURN_IF_ERROR(device_->allocate(sizeof(T) * static_cast<size_t>(count), &buffer));
    *out = buffer->data<T>();
    buffers_.push_back(std::move(buffer));
    return {};
  }
  template <class T>
  Status array(const std::vector<T>& data, T** out) {
    HEBB_RETURN_IF_ERROR(array(static_cast<int64_t>(data.size()), out));
    return device_->backend().write(*out, data.data(), sizeof(T) * data.size());
  }
  Status batch(int32_t features, Activations* out) {
    *out = {nullptr, features, kBatch, device_->backend().panel(kBatch), step_->columns()};
    return array(int64_t{out->panels()} * out->panel * features, &out->data);
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
    HEBB_RETURN_IF_ERROR(Program::create(device_, 4, 1, &update_));
    const Csr links = matrix_->csr();

    std::vector<float> data;
    std::vector<int32_t> labels;
    for (uint32_t i = 0; i < kSamples * kInputs; ++i) data.push_back(numberAt(i));
    for (int32_t i = 0; i < kSamples; ++i) labels.push_back(i % kClasses);
    float *samples, *velocity, *gradient, *bias, *biasGradient, *denseGradient, *scores, *firstMoment, *secondMoment,
        *steps, *wideGradient;
    int32_t *classes, *targets, *order;
    HEBB_RETURN_IF_ERROR(array(data, &samples));
    HEBB_RETURN_IF_ERROR(array(labels, &classes));
    HEBB_RETURN_IF_ERROR(array(kBatch, &targets));
    HEBB_RETURN_IF_ERROR(array(kSamples, &order));
    HEBB_RETURN_IF_ERROR(array(kCapacity, &values_));
    HEBB_RETURN_IF_ERROR(array(kCapacity, &velocity));
    HEBB_RETURN_IF_ERROR(array(kCapacity, &gradient));
    HEBB_RETURN_IF_ERROR(array(kCapacity, &scores));
    HEBB_RETURN_IF_ERROR(array(kHidden, &bias));
    HEBB_RETURN_IF_ERROR(array(kHidden, &biasGradient));
    HEBB_RETURN_IF_ERROR(array(kClasses * kHidden, &dense_));
    HEBB_RETURN_IF_ERROR(array(kClasses * kHidden, &denseGradient));
    HEBB_RETURN_IF_ERROR(array(kWide * kWideOut, &wide_));
    HEBB_RETURN_IF_ERROR(array(kWide * kWideOut, &wideGradient));
    HEBB_RETURN_IF_ERROR(array(kWide * kWideOut, &firstMoment));
    HEBB_RETURN_IF_ERROR(array(kWide * kWideOut, &secondMoment));
    HEBB_RETURN_IF_ERROR(array(kWide * kWideOut, &steps));
    HEBB_RETURN_IF_ERROR(array(std::vector<LossTotals>(1), &totals_));
    Activations x, dx, hidden, rectified, dHidden, dRectified, y, dy, wideInput, wideOutput, dWideInput, dWideOutput;
    for (auto [features, activations] :
         {std::pair{kWide, &wideInput}, {kWide, &dWideInput}, {kWideOut, &wideOutput}, {kWideOut, &dWideOutput}}) {
      HEBB_RETURN_IF_ERROR(batch(features, activations));
    }
    std::vector<float> numbers;
    for (uint32_t i = 0; i < static_cast<uint32_t>(wideInput.panels() * wideInput.panel * kWide); ++i)
      numbers.push_back(numberAt(i + 7));
    HEBB_RETURN_IF_ERROR(device_->backend().write(wideInput.data, numbers.data(), sizeof(float) * numbers.size()));
    for (auto [features, activations] : {std::pair{kInputs, &x},
                                         {kInputs, &dx},
                                         {kHidden, &hidden},
                                         {kHidden, &rectified},
                                         {kHidden, &dHidden},
                                         {kHidden, &dRectified},
                                         {kClasses, &y},
                                         {kClasses, &dy}}) {
      HEBB_RETURN_IF_ERROR(batch(features, activations));
    }

    HEBB_RETURN_IF_ERROR(device_->run(InitializeNormal{links, values_, 0.3, 1, 0}));
    HEBB_RETURN_IF_ERROR(device_->run(InitializeNormal{Csr{kClasses, kHidden}, dense_, 0.2, 1, 1}));
    HEBB_RETURN_IF_ERROR(device_->run(InitializeNormal{Csr{kWideOut, kWide}, wide_, 0.2, 1, 2}));
    HEBB_RETURN_IF_ERROR(device_->run(Permute{order, kSamples, 5, step_->scalar(0), false}));

    const auto step = [&](Operation operation) { return step_->record(std::move(operation), buffers_); };
    const double* rate = step_->scalar(0);
    HEBB_RETURN_IF_ERROR(step(Gather{nullptr, samples, 1, 0, kSamples, order, kSamples, step_->state(), x}));
    HEBB_RETURN_IF_ERROR(step(GatherLabels{classes, kSamples, order, kSamples, step_->state(), targets}));
    HEBB_RETURN_IF_ERROR(step(Spmm{links, values_, bias, x, hidden, Activation::none}));
    HEBB_RETURN_IF_ERROR(step(Relu{hidden, rectified}));
    HEBB_RETURN_IF_ERROR(step(Linear{dense_, nullptr, rectified, y, Activation::none}));
    HEBB_RETURN_IF_ERROR(step(SoftmaxCrossEntropy{y, targets, dy, totals_, step_->step()}));
    HEBB_RETURN_IF_ERROR(step(LinearGradient{dy, rectified, denseGradient}));
    HEBB_RETURN_IF_ERROR(step(LinearTransposed{dense_, dy, dRectified, {}, Activation::none, false}));
    HEBB_RETURN_IF_ERROR(step(ReluGradient{rectified, dRectified, dHidden, false}));
    HEBB_RETURN_IF_ERROR(step(SpmmTransposed{links, values_, dHidden, dx, {}, Activation::none, false}));
    HEBB_RETURN_IF_ERROR(step(Sddmm{links, dHidden, x, gradient, biasGradient, false, false, {}, {}, {}}));
    HEBB_RETURN_IF_ERROR(
        step(Sgd{{values_, velocity, rate, 0.9f, 1e-4f}, gradient, kCapacity, links.rowOffsets + links.rows}));
    HEBB_RETURN_IF_ERROR(step(Sgd{{bias, nullptr, rate, 0, 0}, biasGradient, kHidden, nullptr}));
    HEBB_RETURN_IF_ERROR(step(Sgd{{dense_, nullptr, rate, 0, 0}, denseGradient, kClasses * kHidden, nullptr}));
    // A layer that is worth tensor cores learns to give its own input back.
    Activations target = wideInput;
    target.features = kWideOut;
    HEBB_RETURN_IF_ERROR(step(Linear{wide_, nullptr, wideInput, wideOutput, Activation::none}));
    HEBB_RETURN_IF_ERROR(
        step(MeanSquaredError{wideOutput, target, dWideOutput, Activation::none, totals_, step_->step()}));
    HEBB_RETURN_IF_ERROR(step(LinearGradient{dWideOutput, wideInput, wideGradient}));
    HEBB_RETURN_IF_ERROR(step(LinearTransposed{wide_, dWideOutput, dWideInput, {}, Activation::none, false}));
    HEBB_RETURN_IF_ERROR(step(Adam{.values = wide_,
                                   .gradient = wideGradient,
                                   .firstMoment = firstMoment,
                                   .secondMoment = secondMoment,
                                   .steps = steps,
                                   .learningRate = rate,
                                   .capacity = kWide * kWideOut}));
    HEBB_RETURN_IF_ERROR(step_->setScalars({0.05}));
    HEBB_RETURN_IF_ERROR(step_->rewind(kSamples, 0));

    LinkChanges changes;
    uint64_t *ever, *everBits;
    int64_t *everCount, *everBitsCount;
    int32_t* active;
    HEBB_RETURN_IF_ERROR(array(kCapacity, &changes.keep));
    HEBB_RETURN_IF_ERROR(array(kCapacity, &changes.newRows));
    HEBB_RETURN_IF_ERROR(array(kCapacity, &changes.newColumns));
    HEBB_RETURN_IF_ERROR(array(1, &changes.newCount));
    HEBB_RETURN_IF_ERROR(array(int64_t{kHidden} * kInputs, &ever));
    HEBB_RETURN_IF_ERROR(array(kHidden * UniteLinks::wordsOf(kInputs), &everBits));
    HEBB_RETURN_IF_ERROR(array(1, &everCount));
    HEBB_RETURN_IF_ERROR(array(1, &everBitsCount));
    HEBB_RETURN_IF_ERROR(array(3, &active));
    HEBB_RETURN_IF_ERROR(array(2, &returned_));

    // The pool: every other link that there may be.
    std::vector<int32_t> poolOffsets{0}, poolColumns;
    for (int32_t row = 0; row < kHidden; ++row) {
      for (int32_t c = row % 2; c < kInputs; c += 2) poolColumns.push_back(c);
      poolOffsets.push_back(static_cast<int32_t>(poolColumns.size()));
    }
    const auto poolLinks = static_cast<int32_t>(poolColumns.size());
    HEBB_RETURN_IF_ERROR(SparseMatrix::create(device_, kHidden, kInputs, poolLinks, poolOffsets.data(),
                                              poolOffsets.size(), poolColumns.data(), poolColumns.size(),
                                              &poolMatrix_));
    Pool pool{poolMatrix_->csr()};
    float* poolScores;
    HEBB_RETURN_IF_ERROR(array(poolLinks, &pool.values));
    HEBB_RETURN_IF_ERROR(array(poolLinks, &pool.keep));
    HEBB_RETURN_IF_ERROR(array(poolLinks, &poolScores));
    const auto prune = [&](Operation operation) { return prune_->record(std::move(operation), buffers_); };
    HEBB_RETURN_IF_ERROR(prune(BeginUpdate{links, changes}));
    HEBB_RETURN_IF_ERROR(prune(OpenPool{links, values_, pool}));
    HEBB_RETURN_IF_ERROR(prune(Importance{pool.links, pool.values, pool.keep, ImportanceRule::magnitude, poolScores}));
    HEBB_RETURN_IF_ERROR(prune(KeepLinks{pool.links, poolScores, pool.keep, prune_->scalar(1), nullptr,
                                         prune_->scalar(0), 1, Purpose::prune, 0}));
    HEBB_RETURN_IF_ERROR(prune(ChooseFromPool{links, changes, pool}));
    HEBB_RETURN_IF_ERROR(prune(Rebuild{links, changes, {values_, velocity}}));
    HEBB_RETURN_IF_ERROR(prune(RestoreWeights{links, values_, pool}));
    const auto update = [&](Operation operation) { return update_->record(std::move(operation), buffers_); };
    const double *number = update_->scalar(0), *temperature = update_->scalar(1), *kept = update_->scalar(2),
                 *after = update_->scalar(3);
    HEBB_RETURN_IF_ERROR(update(UniteLinks{links, ever, everCount, int64_t{kHidden} * kInputs}));
    HEBB_RETURN_IF_ERROR(update(UniteLinks{links, nullptr, everBitsCount, 0, everBits}));
    HEBB_RETURN_IF_ERROR(update(BeginUpdate{links, changes}));
    HEBB_RETURN_IF_ERROR(update(Importance{links, values_, changes.keep, ImportanceRule::relative, scores}));
    HEBB_RETURN_IF_ERROR(
        update(KeepLinks{links, scores, changes.keep, kept, temperature, number, 1, Purpose::remove, 0}));
    HEBB_RETURN_IF_ERROR(update(Percolate{{{links, changes.keep}}, {}}));
    // Each chooses anew: what counts here is that its kernels run, too.
    HEBB_RETURN_IF_ERROR(update(RegrowByGradient{links, changes, x, dHidden, after, number, 1, 0}));
    HEBB_RETURN_IF_ERROR(update(
        Regrow{links, changes, LinkPredictor::ch3L3n, Selection::sample, after, number, 1, 0, PredictionRoute::dense}));
    HEBB_RETURN_IF_ERROR(update(Regrow{links, changes, LinkPredictor::ch2L3n, Selection::sample, after, number, 1, 0,
                                       PredictionRoute::sparse}));
    HEBB_RETURN_IF_ERROR(update(Regrow{links, changes, LinkPredictor::ch3L3p, Selection::sample, after, number, 1, 0}));
    HEBB_RETURN_IF_ERROR(update(ReturnedLinks{links, changes, returned_}));
    HEBB_RETURN_IF_ERROR(update(Rebuild{links, changes, {values_, velocity}}));
    return update(ActiveNeurons{links, active});
  }

  std::shared_ptr<Device> device_;
  std::shared_ptr<SparseMatrix> matrix_, poolMatrix_;
  std::shared_ptr<Program> step_, prune_, update_;
  std::vector<std::shared_ptr<Buffer>> buffers_;
  float *values_ = nullptr, *dense_ = nullptr, *wide_ = nullptr;
  int32_t* returned_ = nullptr;
  LossTotals* totals_ = nullptr;
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
