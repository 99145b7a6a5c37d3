// Picks a batch out of a data set that lies on the device.
#pragma once

#include <cstdint>

#include "hebb/activations.h"
#include "hebb/step.h"

namespace hebb {

/// output[f][c] = data[indices[offset + c]][f] * scale + shift; zeros in the padding columns. One of bytes / floats is set.
struct Gather {
  const uint8_t* bytes = nullptr;    // [samples][features] device
  const float* floats = nullptr;     // [samples][features] device
  float scale = 1, shift = 0;
  int64_t samples = 0;
  const int32_t* indices = nullptr;  // [count] device, each a sample, in [0, samples)
  int64_t count = 0;                 // the longest stream that may be read
  const StepState* state = nullptr;  // device
  Activations output;                // [features][columns]
};

/// targets[c] = labels[indices[offset + c]].
struct GatherLabels {
  const int32_t* labels = nullptr;   // [samples] device
  int64_t samples = 0;
  const int32_t* indices = nullptr;  // [count] device, each a sample, in [0, samples)
  int64_t count = 0;                 // the longest stream that may be read
  const StepState* state = nullptr;  // device
  int32_t* targets = nullptr;        // [batch] device
};

}  // namespace hebb
