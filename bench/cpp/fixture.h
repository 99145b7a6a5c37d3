// The data that the benchmarks of operations share: a device, its memory, and sparse layers of the sizes that are reported.
#pragma once

#include <cmath>
#include <cstdio>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "device.h"
#include "hebb/topology.h"
#include "sparse_matrix.h"
#include "timing.h"

namespace hebb::bench {

inline constexpr float kMomentum = 0.9f, kWeightDecay = 5e-4f;

/// The device of so many threads; opened once.
inline std::shared_ptr<Device> deviceOf(int threads) {
  static std::map<int, std::shared_ptr<Device>> devices;
  std::shared_ptr<Device>& device = devices[threads];
  if (!device) must(Device::openCpu({threads, ""}, &device));
  return device;
}

/// Device memory that lives as long as this.
class Arrays {
 public:
  explicit Arrays(std::shared_ptr<Device> device) : device_(std::move(device)) {}
  const std::shared_ptr<Device>& device() const { return device_; }

  template <class T>
  T* zeros(int64_t count) {
    std::shared_ptr<Buffer> buffer;
    must(device_->allocate(static_cast<size_t>(count) * sizeof(T), &buffer));
    buffers_.push_back(buffer);
    return buffer->data<T>();
  }

  template <class T>
  T* copyOf(const std::vector<T>& values) {
    T* data = zeros<T>(static_cast<int64_t>(values.size()));
    must(device_->backend().write(data, values.data(), values.size() * sizeof(T)));
    return data;
  }

  float* normal(int64_t count, float deviation = 1) {
    std::vector<float> values(static_cast<size_t>(count));
    std::normal_distribution<float> distribution(0, deviation);
    for (float& value : values) value = distribution(random_);
    return copyOf(values);
  }

  /// [features][columns], all columns valid.
  Activations activations(int32_t features, int32_t columns, const int32_t* valid = nullptr) {
    Activations a{nullptr, features, columns, device_->backend().panel(columns), valid};
    a.data = normal(int64_t{a.panels()} * features * a.panel);
    return a;
  }

 private:
  std::shared_ptr<Device> device_;
  std::vector<std::shared_ptr<Buffer>> buffers_;
  std::mt19937 random_{1};
};

struct Size {
  int32_t rows, cols;
};
inline constexpr Size kSizes[] = {{1568, 784}, {1568, 1568}, {4096, 4096}};
inline constexpr double kDensities[] = {0.01, 0.05, 0.1};
inline constexpr int32_t kBatches[] = {32, 128, 512};

inline std::string shapeName(Size size) { return std::to_string(size.cols) + "x" + std::to_string(size.rows); }

inline std::shared_ptr<SparseMatrix> matrixOf(const std::shared_ptr<Device>& device, Size size, const HostCsr& links) {
  std::shared_ptr<SparseMatrix> matrix;
  must(SparseMatrix::create(device, size.rows, size.cols, static_cast<int32_t>(links.columnIndices.size()), links.rowOffsets.data(), links.rowOffsets.size(),
                            links.columnIndices.data(), links.columnIndices.size(), &matrix));
  return matrix;
}

/// A layer with links at random places: no neighbouring rows share inputs more than by chance.
struct Layer {
  Layer(std::shared_ptr<Device> device, Size size, double density, int32_t batch) : arrays(std::move(device)) {
    HostCsr host;
    links = std::llround(density * size.rows * size.cols);
    must(erdosRenyi(size.rows, size.cols, links, 1, 0, &host));
    matrix = matrixOf(arrays.device(), size, host);
    values = arrays.normal(links);
    bias = arrays.normal(size.rows);
    if (batch == 0) return;
    input = arrays.activations(size.cols, batch);
    output = arrays.activations(size.rows, batch);
    inputGradient = arrays.activations(size.cols, batch);
    outputGradient = arrays.activations(size.rows, batch);
  }

  Arrays arrays;
  std::shared_ptr<SparseMatrix> matrix;
  int64_t links = 0;
  float *values = nullptr, *bias = nullptr;
  Activations input, output, inputGradient, outputGradient;
};

/// A call that runs one operation on the device and keeps alive what it works on.
template <class Op, class Kept>
std::function<void()> running(std::shared_ptr<Device> device, Op op, std::shared_ptr<Kept> kept) {
  return [device = std::move(device), operation = Operation(std::move(op)), kept = std::move(kept)] { must(device->run(operation)); };
}

/// Calls body(name, size, density, batch, threads) for every combination that is reported.
template <class Body>
void eachShape(const Options& options, const Body& body) {
  for (int threads : options.threads) {
    for (const Size size : kSizes) {
      for (const double density : kDensities) {
        for (const int32_t batch : kBatches) {
          char tail[64];
          std::snprintf(tail, sizeof tail, "/%g%%/batch:%d/threads:%d", 100 * density, batch, threads);
          body(shapeName(size) + tail, size, density, batch, threads);
        }
      }
    }
  }
}

}  // namespace hebb::bench
