// The links of a sparse parameter on a device, in both views. Its values and optimizer state are buffers that run
// parallel to them.
#pragma once

#include <functional>
#include <memory>
#include <mutex>
#include <vector>

#include "device.h"
#include "hebb/host_csr.h"

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

  /// Gives the matrix room for another number of links, at least those it has. Arrays that belong to its links are
  /// resized by who owns them. On failure nothing has changed. On the device's thread.
  Status resize(int32_t capacity);

  const std::shared_ptr<Device>& device() const { return device_; }
  /// Both views, with the addresses that they have now.
  Csr csr() const;
  int32_t rows() const { return rows_; }
  int32_t cols() const { return cols_; }
  /// How often it was resized.
  int64_t generation() const { return generation_; }
  int64_t bytes() const;

 private:
  /// Arrays whose length is the capacity, and those of dense tiles, which a layer has while its capacity is that large.
  struct Room {
    std::shared_ptr<Buffer> columnIndices, rowIndices, cscSlots, masks, slots;
    int32_t capacity = 0;
  };
  Status makeRoom(int32_t capacity, Room* out) const;

  std::shared_ptr<Device> device_;
  int32_t rows_ = 0, cols_ = 0;
  std::shared_ptr<Buffer> rowOffsets_, columnOffsets_;
  Room room_;
  mutable std::mutex mutex_;  // of room_: what is recorded asks for shapes on another thread
  std::atomic<int64_t> generation_{0};
};

}  // namespace hebb
