// The kernels of training in one step, several blocks each, and then a step that fails: for the sanitizers, which see
// no race and no wrong access here.
#include <cstdio>
#include <cstdlib>
#include <vector>

#include "device.h"
#include "program.h"
#include "sparse_matrix.h"

using namespace hebb;

namespace {

void check(const Status& status) {
  if (status.ok()) return;
  std::fprintf(stderr, "%s\n", status.message().c_str());
  std::exit(1);
}

std::vector<float> numbers(int64_t count) {
  std::vector<float> host(static_cast<size_t>(count));
  for (size_t i = 0; i < host.size(); ++i) host[i] = static_cast<float>(static_cast<int>(i * 37 % 101) - 50) / 50;
  return host;
}

/// Memory that is not 0.
struct Memory {
  std::shared_ptr<Device> device;
  template <class T>
  TensorView of(const std::vector<T>& host) const {
    TensorView tensor;
    check(makeTensor(device, host, &tensor));
    return tensor;
  }
  TensorView floats(int64_t count) const { return of(numbers(count)); }
  ActivationsView activations(int32_t features, int32_t batch) const {
    ActivationsView view;
    check(makeActivations(device, features, batch, &view));
    const std::vector<float> host = numbers(static_cast<int64_t>(view.buffer->bytes() / sizeof(float)));
    check(device->backend().write(view.buffer->data(), host.data(), view.buffer->bytes()));
    return view;
  }
};

std::shared_ptr<SparseMatrix> matrixOf(const std::shared_ptr<Device>& device, int32_t cols,
                                       const std::vector<int32_t>& offsets, const std::vector<int32_t>& columns) {
  std::shared_ptr<SparseMatrix> matrix;
  check(SparseMatrix::create(device, static_cast<int32_t>(offsets.size()) - 1, cols,
                             static_cast<int32_t>(columns.size()), offsets.data(), offsets.size(), columns.data(),
                             columns.size(), &matrix));
  return matrix;
}

void run(std::shared_ptr<Device> device, int32_t classes) {
  constexpr int32_t features = 70, hidden = 66, batch = 150, samples = 200;
  const Memory memory{device};
  std::vector<int32_t> offsets(hidden + 1), columns;
  for (int32_t r = 0; r < hidden; ++r) {
    for (int32_t c = r % 3; c < features; c += r % 5 + 2) columns.push_back(c);
    offsets[r + 1] = static_cast<int32_t>(columns.size());
  }
  const auto links = matrixOf(device, features, offsets, columns);
  const int32_t count = links->csr().capacity;
  std::vector<int32_t> classOf(samples);
  for (int32_t i = 0; i < samples; ++i) classOf[i] = i % classes;
  const TensorView labels = memory.of(classOf), order = memory.of(std::vector<int32_t>(samples)),
                   targets = memory.of(std::vector<int32_t>(batch)), totals = memory.of(std::vector<LossTotals>(1)),
                   data = memory.floats(int64_t{samples} * features), values = memory.floats(count),
                   velocity = memory.floats(count), gradient = memory.floats(count),
                   dense = memory.floats(int64_t{classes} * hidden),
                   denseGradient = memory.floats(int64_t{classes} * hidden), bias = memory.floats(hidden),
                   biasGradient = memory.floats(hidden);
  const ActivationsView x = memory.activations(features, batch), h = memory.activations(hidden, batch),
                        z = memory.activations(classes, batch), dz = memory.activations(classes, batch),
                        dh = memory.activations(hidden, batch), dx = memory.activations(features, batch);
  std::shared_ptr<Program> program;
  check(Program::create(device, 1, batch, &program));
  const auto record = [&](const char* name, const Operands& operands) { check(program->record(name, operands)); };
  const Operands gather{{"floats", data}, {"samples", samples}, {"indices", order}, {"count", samples}, {"output", x}};
  record("initializeNormal", {{"pattern", links}, {"values", values}, {"deviation", 0.1}, {"seed", 3}, {"layer", 1}});
  record("permute", {{"indices", order}, {"count", samples}, {"seed", 5}});
  record("gather", gather);
  record("gatherLabels",
         {{"labels", labels}, {"samples", samples}, {"indices", order}, {"count", samples}, {"targets", targets}});
  record("spmm",
         {{"weights", links}, {"values", values}, {"bias", bias}, {"input", x}, {"output", h}, {"activation", "relu"}});
  record("relu", {{"input", h}, {"output", h}});
  record("linear", {{"weights", dense}, {"input", h}, {"output", z}});
  record("softmaxCrossEntropy", {{"logits", z}, {"targets", targets}, {"gradient", dz}, {"totals", totals}});
  record("linearTransposed",
         {{"weights", dense}, {"outputGradient", dz}, {"inputGradient", dh}, {"input", h}, {"activation", "relu"}});
  record("linearGradient", {{"outputGradient", dz}, {"input", h}, {"gradient", denseGradient}});
  record("spmmTransposed", {{"weights", links}, {"values", values}, {"outputGradient", dh}, {"inputGradient", dx}});
  record("reluGradient", {{"output", x}, {"outputGradient", dx}, {"inputGradient", dx}});
  record("meanSquaredError", {{"output", h}, {"target", h}, {"gradient", dh}, {"totals", totals}});
  record("sddmm", {{"pattern", links},
                   {"outputGradient", dh},
                   {"input", x},
                   {"gradient", gradient},
                   {"biasGradient", biasGradient}});
  // The device takes these inside the gradients.
  record("sgd", {{"pattern", links},
                 {"values", values},
                 {"velocity", velocity},
                 {"gradient", gradient},
                 {"learningRate", 0},
                 {"momentum", 0.9},
                 {"weightDecay", 0.1}});
  record("sgd", {{"count", hidden}, {"values", bias}, {"gradient", biasGradient}, {"learningRate", 0}});
  record("sgd", {{"count", classes * hidden}, {"values", dense}, {"gradient", denseGradient}, {"learningRate", 0}});
  check(program->begin({.scalars = {0.1}, .samples = samples}));
  check(program->replay(3));
  // A sample that is none, in a program that does not write the order anew.
  std::shared_ptr<Program> bad;
  check(Program::create(device, 1, batch, &bad));
  check(bad->record("gather", gather));
  check(bad->begin({.samples = samples}));
  int32_t* const seventh = order.buffer->data<int32_t>() + 7;
  const int32_t none = samples;
  check(device->backend().write(seventh, &none, sizeof none));
  const Status status = bad->replay(3);
  std::printf("%s, %ld steps done\n", status.message().c_str(), static_cast<long>(bad->stepsDone()));
  if (status.code() != Code::invalidArgument || bad->stepsDone() != 0) std::exit(1);
  const int32_t good = 3;
  check(device->backend().write(seventh, &good, sizeof good));
  check(bad->replay(2));
}

/// Products of a layer with a hub on each side, in each of their variants: rows that several warps add up, tiles in
/// shared memory, both gradients in one pass.
void products(std::shared_ptr<Device> device, int32_t batch, const char* product, const char* gradients) {
  constexpr int32_t rows = 290, cols = 300;
  setenv("HEBB_CUDA_SPMM", product, 1);
  setenv("HEBB_CUDA_SDDMM", gradients, 1);
  std::vector<int32_t> offsets(rows + 1), columns;
  for (int32_t r = 0; r < rows; ++r) {
    for (int32_t c = r % 40; c < cols; c += r == 7 ? 1 : 40) columns.push_back(c);
    if (columns.back() != cols - 1) columns.push_back(cols - 1);
    offsets[r + 1] = static_cast<int32_t>(columns.size());
  }
  const Memory memory{device};
  const auto links = matrixOf(device, cols, offsets, columns);
  const int32_t count = links->csr().capacity;
  const ActivationsView x = memory.activations(cols, batch), y = memory.activations(rows, batch),
                        dx = memory.activations(cols, batch);
  const TensorView values = memory.floats(count), gradient = memory.floats(count);
  std::shared_ptr<Program> program;
  check(Program::create(device, 1, batch, &program));
  check(program->record("spmm", {{"weights", links},
                                 {"values", values},
                                 {"bias", memory.floats(rows)},
                                 {"input", x},
                                 {"output", y},
                                 {"activation", "relu"}}));
  check(program->record("spmmTransposed", {{"weights", links},
                                           {"values", values},
                                           {"outputGradient", y},
                                           {"inputGradient", dx},
                                           {"input", x},
                                           {"activation", "relu"}}));
  check(program->record("sddmm", {{"pattern", links},
                                  {"outputGradient", y},
                                  {"input", x},
                                  {"gradient", gradient},
                                  {"biasGradient", memory.floats(rows)}}));
  check(program->record("sgd", {{"pattern", links},
                                {"values", values},
                                {"velocity", memory.floats(count)},
                                {"gradient", gradient},
                                {"learningRate", 0},
                                {"momentum", 0.9},
                                {"weightDecay", 0.1}}));
  check(program->begin({.scalars = {1e-6}}));
  check(program->replay(2));
}

}  // namespace

int main() {
  std::shared_ptr<Device> device;
  check(Device::openCuda(0, &device));
  run(device, 10);
  run(device, 90);  // by tensor cores
  check(Device::openCuda(0, &device, Blas::cublas));
  run(device, 90);
  products(device, 20, "fetched", "together");
  products(device, 70, "fetched", "apart");
  products(device, 70, "staged", "apart");
  std::puts("done");
}
