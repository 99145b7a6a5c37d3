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

struct Memory {
  std::shared_ptr<Device> device;
  std::vector<std::shared_ptr<Buffer>> buffers;
  template <class T>
  T* of(const std::vector<T>& host) {
    std::shared_ptr<Buffer> buffer;
    check(device->allocate(host.size() * sizeof(T), &buffer));
    check(device->backend().write(buffer->data(), host.data(), host.size() * sizeof(T)));
    buffers.push_back(buffer);
    return buffer->data<T>();
  }
  float* floats(int64_t count) {
    std::vector<float> host(static_cast<size_t>(count));
    for (size_t i = 0; i < host.size(); ++i) host[i] = static_cast<float>(static_cast<int>(i * 37 % 101) - 50) / 50;
    return of(host);
  }
};

void run(std::shared_ptr<Device> device, int32_t classes) {
  constexpr int32_t features = 70, hidden = 66, batch = 150, samples = 200;
  Memory memory{device, {}};
  std::shared_ptr<Program> program;
  check(Program::create(device, 1, batch, &program));
  const auto activations = [&](int32_t count) {
    const int32_t panel = device->backend().panel(batch);
    return Activations{memory.floats(int64_t{count} * ((batch + panel - 1) / panel) * panel), count, batch, panel,
                       program->columns()};
  };
  std::vector<int32_t> offsets(hidden + 1), columns;
  for (int32_t r = 0; r < hidden; ++r) {
    for (int32_t c = r % 3; c < features; c += r % 5 + 2) columns.push_back(c);
    offsets[r + 1] = static_cast<int32_t>(columns.size());
  }
  std::shared_ptr<SparseMatrix> matrix;
  check(SparseMatrix::create(device, hidden, features, static_cast<int32_t>(columns.size()), offsets.data(),
                             offsets.size(), columns.data(), columns.size(), &matrix));
  const Csr csr = matrix->csr();
  std::vector<int32_t> labels(samples), order(samples);
  for (int32_t i = 0; i < samples; ++i) labels[i] = i % classes;
  int32_t* const indices = memory.of(order);
  int32_t* const targets = memory.of(std::vector<int32_t>(batch));
  float* const values = memory.floats(csr.capacity);
  float* const velocity = memory.floats(csr.capacity);
  float* const dense = memory.floats(int64_t{classes} * hidden);
  float* const denseGradient = memory.floats(int64_t{classes} * hidden);
  float* const bias = memory.floats(hidden);
  float* const biasGradient = memory.floats(hidden);
  const Activations x = activations(features), h = activations(hidden), z = activations(classes),
                    dz = activations(classes), dh = activations(hidden), dx = activations(features);
  LossTotals* const totals = memory.of(std::vector<LossTotals>(1));
  const auto record = [&](Operation operation) { check(program->record(std::move(operation), {})); };
  record(InitializeNormal{csr, values, 0.1, 3, 1});
  record(Permute{indices, samples, 5, nullptr, false});
  record(Gather{nullptr, memory.floats(int64_t{samples} * features), 1, 0, samples, indices, samples, program->state(),
                x});
  record(GatherLabels{memory.of(labels), samples, indices, samples, program->state(), targets});
  record(Spmm{csr, values, bias, x, h, Activation::relu});
  record(Relu{h, h});
  record(Linear{dense, nullptr, h, z, Activation::none});
  record(SoftmaxCrossEntropy{z, targets, dz, totals, program->step()});
  record(LinearTransposed{dense, dz, dh, h, Activation::relu, false});
  record(LinearGradient{dz, h, denseGradient, nullptr, false, false});
  record(SpmmTransposed{csr, values, dh, dx, x, Activation::none, false});
  record(ReluGradient{x, dx, dx, false});
  record(MeanSquaredError{h, h, dh, Activation::none, totals, program->step()});
  record(Sddmm{csr,
               dh,
               x,
               memory.floats(csr.capacity),
               biasGradient,
               false,
               false,
               SgdRule{values, velocity, program->scalar(0), 0.9f, 0.1f},
               SgdRule{bias, nullptr, program->scalar(0), 0, 0},
               {}});
  record(Sgd{SgdRule{dense, nullptr, program->scalar(0), 0, 0}, denseGradient, int64_t{classes} * hidden, nullptr});
  check(program->setScalars({0.1}));
  check(program->rewind(samples, 0));
  check(program->replay(3));
  // A sample that is none, in a program that does not write the order anew.
  std::shared_ptr<Program> bad;
  check(Program::create(device, 1, batch, &bad));
  Activations out = x;
  out.columns = bad->columns();
  check(bad->record(
      Gather{nullptr, memory.floats(int64_t{samples} * features), 1, 0, samples, indices, samples, bad->state(), out},
      {}));
  check(bad->rewind(samples, 0));
  const int32_t none = samples;
  check(device->backend().write(indices + 7, &none, sizeof none));
  const Status status = bad->replay(3);
  std::printf("%s, %ld steps done\n", status.message().c_str(), static_cast<long>(bad->stepsDone()));
  if (status.code() != Code::invalidArgument || bad->stepsDone() != 0) std::exit(1);
  const int32_t good = 3;
  check(device->backend().write(indices + 7, &good, sizeof good));
  check(bad->replay(2));
}

/// Products of a layer with a hub on each side, in each of their variants: rows that several warps add up, tiles in
/// shared memory, both gradients in one pass.
void products(std::shared_ptr<Device> device, int32_t batch, const char* product, const char* gradient) {
  constexpr int32_t rows = 290, cols = 300;
  setenv("HEBB_CUDA_SPMM", product, 1);
  setenv("HEBB_CUDA_SDDMM", gradient, 1);
  Memory memory{device, {}};
  std::vector<int32_t> offsets(rows + 1), columns;
  for (int32_t r = 0; r < rows; ++r) {
    for (int32_t c = r % 40; c < cols; c += r == 7 ? 1 : 40) columns.push_back(c);
    if (columns.back() != cols - 1) columns.push_back(cols - 1);
    offsets[r + 1] = static_cast<int32_t>(columns.size());
  }
  std::shared_ptr<SparseMatrix> matrix;
  check(SparseMatrix::create(device, rows, cols, static_cast<int32_t>(columns.size()), offsets.data(), offsets.size(),
                             columns.data(), columns.size(), &matrix));
  const Csr csr = matrix->csr();
  std::shared_ptr<Program> program;
  check(Program::create(device, 1, batch, &program));
  const auto activations = [&](int32_t count) {
    const int32_t panel = device->backend().panel(batch);
    return Activations{memory.floats(int64_t{count} * ((batch + panel - 1) / panel) * panel), count, batch, panel,
                       program->columns()};
  };
  const Activations x = activations(cols), y = activations(rows), dx = activations(cols);
  float *const values = memory.floats(csr.capacity), *const bias = memory.floats(rows);
  float *const valuesGradient = memory.floats(csr.capacity), *const biasGradient = memory.floats(rows);
  const auto record = [&](Operation operation) { check(program->record(std::move(operation), {})); };
  record(Spmm{csr, values, bias, x, y, Activation::relu});
  record(SpmmTransposed{csr, values, y, dx, x, Activation::relu, false});
  record(Sddmm{csr, y, x, valuesGradient, biasGradient, false, false, {}, {}, {}});
  record(Sgd{SgdRule{values, memory.floats(csr.capacity), program->scalar(0), 0.9f, 0.1f}, valuesGradient, csr.capacity,
             csr.rowOffsets + csr.rows});
  check(program->setScalars({1e-6}));
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
