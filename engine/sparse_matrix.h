// The links of a sparse parameter on a device, in both views. Its values and optimizer state are buffers that run
// parallel to them.
#pragma once

#include <functional>
#include <memory>
#include <vector>

#include "device.h"
#include "hebb/topology.h"

namespace hebb {

class SparseMatrix {
 public:
  /// Allocates for `capacity` links and takes the given ones. Offsets and indices are checked: ascending, in range,
  /// without repeats.
  static Status create(const std::shared_ptr<Device>& device, int32_t rows, int32_t cols, int32_t capacity,
                       const int32_t* rowOffsets, size_t offsetCount, const int32_t* columnIndices, size_t indexCount,
                       std::shared_ptr<SparseMatrix>* out);

  /// Replaces the links by those of an initial network. On the device's thread.
  Status fill(const std::function<Status(HostCsr*)>& generate);

  /// The links, in host memory. On the device's thread.
  Status read(HostCsr* out) const;

  const std::shared_ptr<Device>& device() const { return device_; }
  const Csr& csr() const { return csr_; }
  /// The buffers of both views, for a Program to keep alive.
  const std::vector<std::shared_ptr<Buffer>>& buffers() const { return buffers_; }

 private:
  std::shared_ptr<Device> device_;
  Csr csr_;
  std::vector<std::shared_ptr<Buffer>> buffers_;
};

}  // namespace hebb
