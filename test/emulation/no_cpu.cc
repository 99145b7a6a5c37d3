// The tests of the emulated device have no CPU backend: it takes minutes to compile and is tested elsewhere.
#include "hebb/backend.h"

namespace hebb {

Status openCpu(const CpuOptions&, std::unique_ptr<Backend>*, DeviceInfo*) {
  return {Code::deviceUnavailable, "Expected a build with the CPU backend, got the tests of the emulated device"};
}

}  // namespace hebb
