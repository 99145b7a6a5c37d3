// The data that the benchmarks of operations share: a device, its memory, sparse layers of the sizes that are reported,
// and their traffic.
#pragma once

#include <cstdio>
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

/// The device of so many threads, of a level of SIMD and with a share of links from which on layers are dense
/// (CpuOptions); opened once.
std::shared_ptr<Device> deviceOf(int threads, const std::string& simd = "", double denseFrom = -1);

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

  template <class T>
  T* one(T value) {
    return copyOf(std::vector<T>{value});
  }

  float* normal(int64_t count, float deviation = 1);

  /// [features][columns], all columns valid, or as many as the axis says.
  Activations activations(int32_t features, int32_t columns, const Axis* axis = nullptr);

 private:
  std::shared_ptr<Device> device_;
  std::vector<std::shared_ptr<Buffer>> buffers_;
  std::mt19937 random_{1};
};

struct Size {
  int32_t rows, cols;
};

/// What is reported, and the little of it that shows that everything runs.
inline std::vector<Size> sizesOf(const Options& options) {
  if (options.quick) return {{1568, 784}};
  return {{1568, 784}, {1568, 1568}, {4096, 4096}};
}
inline std::vector<double> densitiesOf(const Options& options) {
  if (options.quick) return {0.01};
  return {0.01, 0.02, 0.05, 0.1};
}
inline std::vector<int32_t> batchesOf(const Options& options) {
  if (options.quick) return {32, 200};
  return {32, 128, 512};
}

std::shared_ptr<SparseMatrix> matrixOf(const std::shared_ptr<Device>& device, Size size, const HostCsr& links,
                                       int64_t capacity = 0);

/// A layer with links at random places: no neighbouring rows share inputs more than by chance.
struct Layer {
  Layer(std::shared_ptr<Device> device, Size size, double density, int32_t batch = 0);

  Csr csr() const { return matrix->csr(); }
  double count() const { return static_cast<double>(links); }
  /// Flags of the links, of which so many are 0, at random.
  std::vector<uint8_t> flags(double removed) const;

  Arrays arrays;
  std::shared_ptr<SparseMatrix> matrix;
  int64_t links = 0;
  float *values = nullptr, *bias = nullptr;
  Activations input, output, inputGradient, outputGradient;
};

/// Bytes of an activation's valid part.
inline double bytesOf(const Activations& a) { return 4. * a.features * a.capacity; }

/// A call that runs one operation on the device and keeps alive what it works on.
template <class Op, class Kept>
std::function<void()> running(std::shared_ptr<Device> device, Op op, std::shared_ptr<Kept> kept) {
  return [device = std::move(device), operation = Operation(std::move(op)), kept = std::move(kept)] {
    must(device->run(operation));
  };
}

/// Calls body(shape) for every size and density that is reported, with threads; and with every batch.
template <class Body>
void eachLayer(const Options& options, const Body& body) {
  for (int threads : options.threads) {
    for (const Size size : sizesOf(options)) {
      for (const double density : densitiesOf(options)) body(Shape{size.rows, size.cols, density, 0, threads});
    }
  }
}
template <class Body>
void eachShape(const Options& options, const Body& body) {
  eachLayer(options, [&](Shape shape) {
    for (const int32_t batch : batchesOf(options)) {
      shape.batch = batch;
      body(shape);
    }
  });
}

/// The layer of a shape, on the device of its threads.
inline std::shared_ptr<Layer> layerOf(const Shape& shape) {
  return std::make_shared<Layer>(deviceOf(shape.threads), Size{shape.rows, shape.cols}, shape.density, shape.batch);
}

}  // namespace hebb::bench
