// Kernels have variants, and each file says which of them a shape gets. Tests and benchmarks may ask for one by an
// environment variable, read when an operation is queued (in a Program: when it is recorded).
#pragma once

#include <cstdlib>
#include <string>

#include "hebb/status.h"

namespace hebb::cuda {

/// *first: whether the first of two variants is to run, `chosen` unless the environment variable `name` says otherwise.
inline Status chooseVariant(const char* name, const char* one, const char* other, bool chosen, bool* first) {
  *first = chosen;
  const char* const asked = std::getenv(name);
  if (!asked || !*asked) return {};
  const std::string word = asked;
  if (word != one && word != other) {
    return {Code::invalidArgument, std::string("Expected ") + name + " to be '" + one + "' or '" + other + "', got '" +
                                       word + "'. Unset it, and the shape decides."};
  }
  *first = word == one;
  return {};
}

}  // namespace hebb::cuda
