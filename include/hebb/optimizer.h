// Optimizers. They see parallel arrays, one element a parameter, and so serve sparse and dense parameters alike.
#pragma once

#include <cstdint>

namespace hebb {

/// SGD with momentum and weight decay, as PyTorch defines it: g += decay * w; m = momentum * m + g; w -= rate * m.
struct SgdRule {
  float* values = nullptr;              // [count] device; null means: no update
  float* velocity = nullptr;            // [count] device; null when momentum is 0
  const double* learningRate = nullptr; // [1] device, in the Program's scalar table
  float momentum = 0;
  float weightDecay = 0;
};

struct Sgd {
  SgdRule rule;
  const float* gradient = nullptr;   // [count] device
  int64_t capacity = 0;              // elements that fit
  const int32_t* count = nullptr;    // [1] device: elements in use (a sparse layer's links); null: capacity
};

}  // namespace hebb
