// What tests set and read of the emulated machine. Environment variables hold for processes whose code cannot call
// these functions; they are read whenever they matter, and a function that was called goes before them.
//   HEBB_EMULATION_DEVICES=1             GPUs
//   HEBB_EMULATION_MEMORY=8589934592     bytes of memory of each
//   HEBB_EMULATION_ARCHITECTURE=90       compute capability, times ten
//   HEBB_EMULATION_DRIVER=13000          CUDA version of the driver, 0: there is none
//   HEBB_EMULATION_ORDER=forward         in which blocks and threads run: forward, reversed, or random:SEED
//   HEBB_EMULATION_FAIL_ALLOCATION=      N or N:COUNT, the N-th allocation (from 1) since this value was set fails, and
//                                        COUNT - 1 after it
//   HEBB_EMULATION_FAIL_LAUNCH=          N, the N-th launch of a kernel since this value was set meets an illegal
//                                        address
//   HEBB_EMULATION_COUNTERS=             a file: the counters are written to it, as JSON, when the process asks for the
//                                        number of GPUs, and at its end
#pragma once

#include <cstdint>
#include <functional>
#include <string>

namespace hebb::emulation {

/// What a stream begins with, for libraries that a program loads while it runs: work is queued or recorded as a kernel
/// is, and returns a cudaError_t.
struct StreamHead {
  int (*enqueue)(StreamHead* stream, std::function<int()> work);
};

struct Settings {
  int devices = 1;
  int64_t memory = int64_t{8} << 30;
  int architecture = 90;
  int driver = 13000;
};
void configure(const Settings& settings);

enum class Order { forward, reversed, random };
void setOrder(Order order, uint64_t seed = 0);

/// The `first`-th allocation of device memory from now (counting from 1) fails, and the `count` - 1 after it. 0: none.
void failAllocations(int64_t first, int64_t count = 1);

/// What was asked of all devices since the program began.
struct Counters {
  int64_t launches = 0, graphLaunches = 0, synchronizations = 0;  // launches: of kernels, those within graphs too
  int64_t blocks = 0;                                             // of all launches
  int64_t allocations = 0, releases = 0;
  int64_t toDevice = 0, toHost = 0, withinDevice = 0;  // copies
  int64_t bytesToDevice = 0, bytesToHost = 0, bytesWithinDevice = 0;
  int64_t memsets = 0;
  int64_t switches = 0;                        // between threads
  int64_t liveAllocations = 0, liveBytes = 0;  // now
};
Counters counters();

/// What a kernel did wrong, "" when none did since the program began or reset() was called.
std::string report();

/// Devices are as they were before any error. Memory stays.
void reset();

}  // namespace hebb::emulation
