// Prefix sums.
#pragma once

#include "cuda.h"

namespace hebb::cuda {

/// data[i] = the sum of the elements before i, for all i up to n: data [n + 1] is device memory, and data[n], which is
/// not read, becomes the total. The total must fit.
Status prefixSums(Cuda& cuda, const char* operation, int32_t* data, int64_t n);

}  // namespace hebb::cuda
