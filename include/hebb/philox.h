// Philox-4x32-10: the one source of randomness (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC11).
// key = seed, counter = (row, column, step, purpose and layer): a draw belongs to a place in the network, not to a
// place in memory, so it does not depend on threads, links' order or backend.
#pragma once

#include <cstdint>

#if defined(__CUDACC__)
#define HEBB_INLINE __host__ __device__ __forceinline__
#else
#define HEBB_INLINE inline __attribute__((always_inline))
#endif

namespace hebb {

struct Philox {
  uint32_t word[4];
};

inline constexpr uint32_t kPhiloxMultiplier0 = 0xD2511F53u, kPhiloxMultiplier1 = 0xCD9E8D57u;
inline constexpr uint32_t kPhiloxWeyl0 = 0x9E3779B9u, kPhiloxWeyl1 = 0xBB67AE85u;
inline constexpr int kPhiloxRounds = 10;

/// Four random words for the counter (c0, c1, c2, c3) under the key `seed`.
HEBB_INLINE Philox philox(uint64_t seed, uint32_t c0, uint32_t c1, uint32_t c2, uint32_t c3) {
  uint32_t k0 = static_cast<uint32_t>(seed), k1 = static_cast<uint32_t>(seed >> 32);
  for (int round = 0; round < kPhiloxRounds; ++round) {
    const uint64_t p0 = static_cast<uint64_t>(kPhiloxMultiplier0) * c0;
    const uint64_t p1 = static_cast<uint64_t>(kPhiloxMultiplier1) * c2;
    c0 = static_cast<uint32_t>(p1 >> 32) ^ c1 ^ k0;
    c1 = static_cast<uint32_t>(p1);
    c2 = static_cast<uint32_t>(p0 >> 32) ^ c3 ^ k1;
    c3 = static_cast<uint32_t>(p0);
    k0 += kPhiloxWeyl0;
    k1 += kPhiloxWeyl1;
  }
  return {{c0, c1, c2, c3}};
}

/// What a draw is for. Part of the counter, so that no two uses share numbers.
enum class Purpose : uint32_t {};

template <uint32_t Number>
struct PurposeTaken;

/// Declares a purpose beside what draws for it: HEBB_PURPOSE(kDropoutDraws, 17). The numbers are part of the file
/// format. One that is taken already ends compilation where both headers are included, at the latest in
/// any_operation.h.
#define HEBB_PURPOSE(name, number)                                       \
  static_assert((number) > 0 && (number) < 256, "purposes have 8 bits"); \
  template <>                                                            \
  struct PurposeTaken<number> {};                                        \
  inline constexpr Purpose name { number }

// Those that belong to no operation, or to several.
HEBB_PURPOSE(kTopologyDraws, 1);
HEBB_PURPOSE(kWeightDraws, 2);
HEBB_PURPOSE(kShuffleDraws, 3);
HEBB_PURPOSE(kSampleDraws, 8);
// lib/philox.ts draws for these.
HEBB_PURPOSE(kBatchDraws, 18);
HEBB_PURPOSE(kGenerationDraws, 21);

/// The fourth counter word: purpose in the upper 8 bits, layer in the lower 24.
HEBB_INLINE uint32_t purposeWord(Purpose purpose, uint32_t layer) {
  return static_cast<uint32_t>(purpose) << 24 | (layer & 0xFFFFFFu);
}

/// An event that 16 random bits decide: it happens where they are below `threshold`. Its probability is the multiple of
/// 2^-16 that is nearest to the one asked for, and at most 1 - 2^-16.
struct Chance {
  uint32_t threshold;

  HEBB_INLINE static Chance of(double probability) {
    const double nearest = probability * 65536 + 0.5;
    return {nearest < 65535 ? static_cast<uint32_t>(nearest) : 65535u};
  }
  /// 1 / (1 - probability), of the probability that it has.
  HEBB_INLINE float inverseOfRest() const { return 65536.f / static_cast<float>(65536 - threshold); }
};

/// A double in (0, 1) from two random words.
HEBB_INLINE double unitInterval(uint32_t high, uint32_t low) {
  const uint64_t bits = (static_cast<uint64_t>(high) << 32 | low) >> 11;
  return (static_cast<double>(bits) + 0.5) * 0x1p-53;
}

}  // namespace hebb
