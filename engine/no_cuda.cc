// Stands in for cuda/ in a build without it.
#include "hebb/backend.h"

namespace hebb {

bool cudaBuilt() { return false; }

int cudaDeviceCount(std::string* detail) {
  *detail = "this build of hebb has no CUDA backend: build it where nvcc is installed";
  return 0;
}

bool findCublas(std::string* detail) {
  cudaDeviceCount(detail);
  return false;
}

Status openCuda(int, std::unique_ptr<Backend>*, DeviceInfo*, Blas, Deterministic) {
  std::string detail;
  cudaDeviceCount(&detail);
  return {Code::deviceUnavailable, "Expected a CUDA device, got none: " + detail + ". Use device 'cpu' or 'auto'."};
}

}  // namespace hebb
