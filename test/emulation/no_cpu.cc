// The tests of the emulated device have no CPU backend: it takes minutes to compile and is tested elsewhere.
#include "hebb/backend.h"
#include "hebb/topology.h"

namespace hebb {
namespace {

Status without() {
  return {Code::deviceUnavailable, "Expected a build with the CPU backend, got the tests of the emulated device"};
}

}  // namespace

Status openCpu(const CpuOptions&, std::unique_ptr<Backend>*, DeviceInfo*) { return without(); }

// hebb::Network, which none of these tests makes, asks for it.
Status networks::bipartiteReceptiveField(int32_t, int32_t, int64_t, const BrfOptions&, uint64_t, int32_t, HostCsr*,
                                         const std::atomic<bool>*) {
  return without();
}

}  // namespace hebb
