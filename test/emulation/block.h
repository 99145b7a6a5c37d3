// Runs the blocks of one launch.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "machine.h"
#include "runtime.h"

namespace hebb::emulation {

struct Grid {
  dim3 blocks, threads;
  size_t dynamicShared = 0;
  size_t sharedLimit = 0;  // static and dynamic memory of a block together
  const char* operation = "";
};

/// On the calling operating-system thread; one at a time. After an error, `report` says what happened where.
cudaError_t runGrid(const Grid& grid, Order order, uint64_t seed, const std::function<void()>& thread,
                    std::string* report);

/// Bytes that nobody has written yet: NaN as a float, -1 as an integer.
constexpr int kUnwritten = 0xff;

/// Changes of fibers so far.
int64_t switches();

/// Keeps ThreadSanitizer from watching what the emulation itself does to memory that kernels use.
class Unwatched {
 public:
  Unwatched();
  ~Unwatched();
};

}  // namespace hebb::emulation
