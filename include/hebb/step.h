// What drives a recorded Program: its step counter, its row of scalars and its place in the stream of samples. All of it lives in
// device memory, so one recording serves every step.
#pragma once

#include <cstdint>

namespace hebb {

struct StepState {
  int64_t step = -1;     // the step being run; -1 before the first
  int64_t firstStep = 0; // the step of the scalar table's first row
  int64_t rows = 1;      // rows of the scalar table; steps past the last one use the last one
  int64_t next = 0;      // place in the index stream where the next batch starts
  int64_t offset = 0;    // place in the index stream where this batch starts
  int64_t samples = 0;   // length of the index stream; 0: the Program reads none
  int32_t batch = 0;     // columns of a full batch
  int32_t columns = 0;   // columns of this batch
};

/// Moves to the next step: counts it, copies its row of scalars to `scalars`, sets the batch's offset and columns. A last batch is shorter.
struct Advance {
  StepState* state = nullptr;    // device
  const double* table = nullptr; // [rows][width] device
  double* scalars = nullptr;     // [width] device
  int32_t width = 0;
};

/// indices = a permutation of 0..count-1 that depends on (seed, epoch) alone. Any element can be computed by itself (a Feistel
/// network over Philox with cycle walking), so no sort and no serial shuffle is needed on any device.
struct Permute {
  int32_t* indices = nullptr;     // [count] device
  int32_t count = 0;
  uint64_t seed = 0;
  const double* epoch = nullptr;  // [1] device scalar
  bool identity = false;          // write 0..count-1 instead
};

}  // namespace hebb
