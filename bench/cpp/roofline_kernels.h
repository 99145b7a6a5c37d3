// The loops whose rates are the roofs, compiled for each SIMD level as the library's own kernels are.
#pragma once

#include <cstdint>

namespace hebb::bench {

/// Loops that do one thing as fast as the level's vectors can. Results are returned so that nothing is optimised away.
struct RoofKernels {
  const char* level;
  // Floats; adds up rows.
  int32_t (*fetch)(const float* data, int64_t stride, int32_t length, const int32_t* order, int64_t rows);
  int32_t (*read)(const float* data, int64_t count);
  int32_t (*write)(float* data, int64_t count);
  int32_t (*copy)(float* data, int64_t count);  // the first half to the second
  int32_t (*update)(float* data, int64_t count);
  int32_t (*multiplyAdd)(int64_t rounds);                                 // kAccumulators vectors a round
  int32_t (*draw)(int64_t rounds);                                        // a vector of Philox blocks a round
  int32_t (*scatter)(float* sums, const int32_t* places, int64_t count);  // adds 1 at each place
  int32_t width;                                                          // floats in a vector
};
inline constexpr int kAccumulators = 12;

#define HEBB_ROOF_LEVELS(X) X(portable)
#if defined(__x86_64__)
#undef HEBB_ROOF_LEVELS
#define HEBB_ROOF_LEVELS(X) X(x86_64_v4) X(x86_64_v3) X(x86_64_v2) X(portable)
#endif
#define HEBB_ROOF_LEVEL(name) \
  namespace name {            \
  RoofKernels roofKernels();  \
  }
HEBB_ROOF_LEVELS(HEBB_ROOF_LEVEL)
#undef HEBB_ROOF_LEVEL

}  // namespace hebb::bench
