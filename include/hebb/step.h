// What drives a recorded Program: its step counter, its row of scalars and its place in the stream of samples. All of
// it lives in device memory, so one recording serves every step.
#pragma once

#include <cstdint>

#include "hebb/activations.h"
#include "hebb/operands.h"
#include "hebb/philox.h"

namespace hebb {

struct StepState {
  int64_t step = -1;      // the step being run; -1 before the first
  int64_t firstStep = 0;  // the step of the scalar table's first row
  int64_t rows = 1;       // rows of the scalar table; steps past the last one use the last one
  int64_t next = 0;       // place in the index stream where the next batch starts
  int64_t offset = 0;     // place in the index stream where this batch starts
  int64_t samples = 0;    // length of the index stream; 0: the Program reads none
  int32_t batch = 0;      // columns of a full batch
  Axis axis;              // the columns of this batch
};

/// axis = columns [first, first + capacity) of those of `whole`, as far as there are any: of a batch, a micro-batch.
struct TakePart {
  const Axis* whole = nullptr;  // device
  Axis* axis = nullptr;         // device
  int32_t first = 0, capacity = 0;
};

HEBB_INLINE Axis partOf(const Axis& whole, int32_t first, int32_t capacity) {
  const int32_t left = whole.columns - first;
  return {left < 0 ? 0 : left < capacity ? left : capacity, whole.first + first, whole.whole};
}

/// Moves to the next step: counts it, copies its row of scalars to `scalars`, sets the batch's offset and columns. A
/// last batch is shorter.
struct Advance {
  StepState* state = nullptr;     // device
  const double* table = nullptr;  // [rows][width] device
  double* scalars = nullptr;      // [width] device
  int32_t width = 0;
};

/// indices = a permutation of 0..count-1 that depends on (seed, epoch) alone. Any element can be computed by itself (a
/// Feistel network over Philox with cycle walking), so no sort and no serial shuffle is needed on any device.
struct Permute {
  int32_t* indices = nullptr;  // [count] device
  int32_t count = 0;
  uint64_t seed = 0;
  const double* epoch = nullptr;  // [1] device scalar
  bool identity = false;          // write 0..count-1 instead

  static constexpr auto operands() {
    using namespace declare;
    return std::tuple{integer("count", &Permute::count, 1),
                      writes("indices", &Permute::indices, numberOf<&Permute::count>), seeded(&Permute::seed),
                      scalar("epoch", &Permute::epoch).optional(), flag("identity", &Permute::identity)};
  }
};

/// Half the bits of the numbers that permute() walks through: the least with count <= 2^(2 * half).
HEBB_INLINE int permutationHalf(int64_t count) {
  int half = 1;
  while ((int64_t{1} << (2 * half)) < count) ++half;
  return half;
}

/// Element `i` of the permutation of [0, count): six Feistel rounds whose round function is Philox permute [0, 2^(2 *
/// half)), and are repeated until they land inside.
HEBB_INLINE uint64_t permuted(uint64_t i, uint64_t count, int half, uint64_t seed, uint32_t epoch) {
  const uint64_t mask = (uint64_t{1} << half) - 1;
  do {
    uint64_t left = i >> half, right = i & mask;
    for (uint32_t round = 0; round < 6; ++round) {
      const uint64_t f =
          philox(seed, static_cast<uint32_t>(right), round, epoch, purposeWord(kShuffleDraws, 0)).word[0];
      const uint64_t next = (left ^ f) & mask;
      left = right;
      right = next;
    }
    i = left << half | right;
  } while (i >= count);
  return i;
}

}  // namespace hebb
