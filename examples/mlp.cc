// A sparse network learns four rings around each other, and rewires itself after each epoch but the last ones.
#include <cmath>
#include <cstdio>

#include "hebb/engine/network.h"

hebb::Status train() {
  std::vector<float> points;  // in 16 random directions, which tell nothing one by one
  std::vector<int32_t> rings;
  for (int i = 0; i < 4096; ++i) {
    const double angle = i * 2.39996, radius = 0.5 + i % 4 + 0.3 * std::sin(i * 0.7);
    for (int k = 0; k < 16; ++k) points.push_back(static_cast<float>(radius * std::cos(angle + k * 0.3)));
    rings.push_back(i % 4);
  }
  std::shared_ptr<hebb::Device> device;
  std::unique_ptr<hebb::Network> network;
  HEBB_RETURN_IF_ERROR(hebb::Device::openCpu({}, &device));
  HEBB_RETURN_IF_ERROR(hebb::Network::create(device, {.widths = {16, 128, 128, 4}, .density = 0.1}, &network));
  HEBB_RETURN_IF_ERROR(network->setData(points, rings));
  for (int epoch = 1; epoch <= 20; ++epoch) {
    hebb::LossTotals totals;
    HEBB_RETURN_IF_ERROR(network->runEpoch());
    HEBB_RETURN_IF_ERROR(network->takeTotals(&totals));
    const double accuracy = totals.correct / totals.weight;
    std::printf("epoch %2d: loss %.4f, accuracy %.2f%%\n", epoch, totals.loss / totals.weight, 100 * accuracy);
    if (epoch <= 15) HEBB_RETURN_IF_ERROR(network->updateTopology());
    else if (epoch == 20 && accuracy < 0.9) return {hebb::Code::internal, "Expected 90% to be right at the end"};
  }
  return {};
}

int main() {
  const hebb::Status status = train();
  if (!status.ok()) std::fprintf(stderr, "%s\n", status.message().c_str());
  return status.ok() ? 0 : 1;
}
