// Devices are opened once a process and shared by all cases. Data and links come from fixed seeds, so that every run
// times the same layers.
#include "fixture.h"

#include <cmath>
#include <map>
#include <tuple>

namespace hebb::bench {

std::shared_ptr<Device> deviceOf(int threads, const std::string& simd, double denseFrom) {
  static std::map<std::tuple<int, std::string, double>, std::shared_ptr<Device>> devices;
  std::shared_ptr<Device>& device = devices[{threads, simd, denseFrom}];
  if (!device) must(Device::openCpu({threads, simd, denseFrom}, &device));
  return device;
}

float* Arrays::normal(int64_t count, float deviation) {
  std::vector<float> values(static_cast<size_t>(count));
  std::normal_distribution<float> distribution(0, deviation);
  for (float& value : values) value = distribution(random_);
  return copyOf(values);
}

Activations Arrays::activations(int32_t features, int32_t columns, const Axis* axis) {
  Activations a{nullptr, features, columns, device_->backend().panel(columns), axis};
  a.data = normal(int64_t{a.panels()} * features * a.panel);
  return a;
}

std::shared_ptr<SparseMatrix> matrixOf(const std::shared_ptr<Device>& device, Size size, const HostCsr& links,
                                       int64_t capacity) {
  std::shared_ptr<SparseMatrix> matrix;
  const auto count = static_cast<int64_t>(links.columnIndices.size());
  must(SparseMatrix::create(device, size.rows, size.cols, static_cast<int32_t>(std::max(count, capacity)),
                            links.rowOffsets.data(), links.rowOffsets.size(), links.columnIndices.data(),
                            links.columnIndices.size(), &matrix));
  return matrix;
}

Layer::Layer(std::shared_ptr<Device> device, Size size, double density, int32_t batch) : arrays(std::move(device)) {
  HostCsr host;
  links = std::llround(density * size.rows * size.cols);
  must(networks::erdosRenyi(size.rows, size.cols, links, 1, 0, &host));
  matrix = matrixOf(arrays.device(), size, host);
  values = arrays.normal(links);
  bias = arrays.normal(size.rows);
  if (batch == 0) return;
  input = arrays.activations(size.cols, batch);
  output = arrays.activations(size.rows, batch);
  inputGradient = arrays.activations(size.cols, batch);
  outputGradient = arrays.activations(size.rows, batch);
}

std::vector<uint8_t> Layer::flags(double removed) const {
  std::vector<uint8_t> keep(static_cast<size_t>(links));
  std::mt19937 random(2);
  std::bernoulli_distribution stays(1 - removed);
  for (uint8_t& flag : keep) flag = stays(random);
  return keep;
}

}  // namespace hebb::bench
