// Vectors of the level this file is compiled for, in the compilers' own vector types, with the few things these lack.
// HEBB_LEVEL names the namespace; the widths follow from the target.
#pragma once

#include <cmath>
#include <cstdint>
#include <utility>

#include "hebb/logarithm.h"

#if defined(__x86_64__)
#include <immintrin.h>
#elif defined(__ARM_NEON)
#include <arm_neon.h>
#endif

#if defined(__clang__)
#define HEBB_SHUFFLE(a, b, ...) __builtin_shufflevector(a, b, __VA_ARGS__)
#else
#define HEBB_SHUFFLE(a, b, ...) hebb::cpu::HEBB_LEVEL::shuffleOf<__VA_ARGS__>(a, b)
#endif

namespace hebb::cpu::HEBB_LEVEL {

#if defined(__AVX512F__)
inline constexpr int W = 16;
#elif defined(__AVX2__)
inline constexpr int W = 8;
#else
inline constexpr int W = 4;
#endif

typedef float Vec __attribute__((vector_size(4 * W)));
typedef int32_t IntVec __attribute__((vector_size(4 * W)));
typedef uint32_t UintVec __attribute__((vector_size(4 * W)));
typedef uint64_t LongVec __attribute__((vector_size(4 * W)));
typedef uint16_t ShortVec __attribute__((vector_size(4 * W)));
typedef uint16_t HalfShortVec __attribute__((vector_size(2 * W)));
typedef float Vec4 __attribute__((vector_size(16)));
typedef uint8_t Bytes16 __attribute__((vector_size(16)));
typedef float VecInMemory __attribute__((vector_size(4 * W), aligned(4), may_alias));
typedef int32_t IntVecInMemory __attribute__((vector_size(4 * W), aligned(4), may_alias));
typedef uint32_t UintVecInMemory __attribute__((vector_size(4 * W), aligned(4), may_alias));
typedef uint16_t ShortVecInMemory __attribute__((vector_size(4 * W), aligned(2), may_alias));
typedef float Vec4InMemory __attribute__((vector_size(16), aligned(4), may_alias));
typedef uint16_t HalfShortVecInMemory __attribute__((vector_size(2 * W), aligned(2), may_alias));
typedef uint8_t Bytes16InMemory __attribute__((vector_size(16), aligned(1), may_alias));

HEBB_INLINE Vec load(const float* p) { return *reinterpret_cast<const VecInMemory*>(p); }
HEBB_INLINE void store(float* p, Vec v) { *reinterpret_cast<VecInMemory*>(p) = v; }
HEBB_INLINE Vec4 load4(const float* p) { return *reinterpret_cast<const Vec4InMemory*>(p); }
HEBB_INLINE void store4(float* p, Vec4 v) { *reinterpret_cast<Vec4InMemory*>(p) = v; }
HEBB_INLINE UintVec loadUints(const int32_t* p) { return *reinterpret_cast<const UintVecInMemory*>(p); }
HEBB_INLINE ShortVec loadShorts(const uint16_t* p) { return *reinterpret_cast<const ShortVecInMemory*>(p); }
HEBB_INLINE IntVec loadHalves(const uint16_t* p) {
  return __builtin_convertvector(*reinterpret_cast<const HalfShortVecInMemory*>(p), IntVec);
}
HEBB_INLINE Vec splat(float x) { return x - Vec{}; }

/// a * b + c, rounded once where the processor can and twice where it cannot: for training, where speed counts.
HEBB_INLINE Vec mulAdd(Vec a, Vec b, Vec c) {
#if defined(__AVX512F__)
  return (Vec)_mm512_fmadd_ps((__m512)a, (__m512)b, (__m512)c);
#elif defined(__FMA__) && defined(__AVX2__)
  return (Vec)_mm256_fmadd_ps((__m256)a, (__m256)b, (__m256)c);
#elif defined(__ARM_NEON)
  return (Vec)vfmaq_f32((float32x4_t)c, (float32x4_t)a, (float32x4_t)b);
#else
  return a * b + c;
#endif
}

/// Square roots, rounded to nearest.
HEBB_INLINE Vec squareRoot(Vec v) {
#if defined(__AVX512F__)
  return (Vec)_mm512_maskz_sqrt_ps(0xFFFF, (__m512)v);
#elif defined(__AVX2__)
  return (Vec)_mm256_sqrt_ps((__m256)v);
#elif defined(__x86_64__)
  return (Vec)_mm_sqrt_ps((__m128)v);
#else
  for (int i = 0; i < W; ++i) v[i] = std::sqrt(v[i]);
  return v;
#endif
}

/// Adds x to sum, 32 lanes, where the bits of `word` are set. On AVX-512 the bits become a mask by a test of vectors:
/// that takes half the time of moving them.
HEBB_INLINE void addWhere(uint32_t word, Vec x, Vec* sum) {
  IntVec lane;
  for (int i = 0; i < W; ++i) lane[i] = 1 << i;
  const IntVec bits = static_cast<int32_t>(word) - IntVec{};
  for (int v = 0; v < 32 / W; ++v) {
    const IntVec mine = lane << v * W;
#if defined(__AVX512F__)
    sum[v] = (Vec)_mm512_mask_add_ps((__m512)sum[v], _mm512_test_epi32_mask((__m512i)bits, (__m512i)mine),
                                     (__m512)sum[v], (__m512)x);
#else
    sum[v] += (Vec)((IntVec)x & ((bits & mine) == mine));
#endif
  }
}
#if !defined(__clang__)
template <int... I, class V>
HEBB_INLINE V shuffleOf(V a, V b) {
  typedef decltype(a < b) Mask;
  return __builtin_shuffle(a, b, Mask{I...});
}
#endif

/// The sums of four vectors' lanes, as four floats. Every sum is taken in the same order, so it does not depend on a
/// vector's place.
HEBB_INLINE Vec4 sumLanes(Vec a, Vec b, Vec c, Vec d) {
#if defined(__AVX512F__)
  const Vec ab = HEBB_SHUFFLE(a, b, 0, 16, 1, 17, 4, 20, 5, 21, 8, 24, 9, 25, 12, 28, 13, 29) +
                 HEBB_SHUFFLE(a, b, 2, 18, 3, 19, 6, 22, 7, 23, 10, 26, 11, 27, 14, 30, 15, 31);
  const Vec cd = HEBB_SHUFFLE(c, d, 0, 16, 1, 17, 4, 20, 5, 21, 8, 24, 9, 25, 12, 28, 13, 29) +
                 HEBB_SHUFFLE(c, d, 2, 18, 3, 19, 6, 22, 7, 23, 10, 26, 11, 27, 14, 30, 15, 31);
  const __m512 s = (__m512)(HEBB_SHUFFLE(ab, cd, 0, 1, 16, 17, 4, 5, 20, 21, 8, 9, 24, 25, 12, 13, 28, 29) +
                            HEBB_SHUFFLE(ab, cd, 2, 3, 18, 19, 6, 7, 22, 23, 10, 11, 26, 27, 14, 15, 30, 31));
  const __m256 h = _mm256_add_ps(_mm512_castps512_ps256(s), _mm512_extractf32x8_ps(s, 1));
  return (Vec4)_mm_add_ps(_mm256_castps256_ps128(h), _mm256_extractf128_ps(h, 1));
#elif defined(__AVX2__)
  const Vec ab = HEBB_SHUFFLE(a, b, 0, 8, 1, 9, 4, 12, 5, 13) + HEBB_SHUFFLE(a, b, 2, 10, 3, 11, 6, 14, 7, 15);
  const Vec cd = HEBB_SHUFFLE(c, d, 0, 8, 1, 9, 4, 12, 5, 13) + HEBB_SHUFFLE(c, d, 2, 10, 3, 11, 6, 14, 7, 15);
  const __m256 s =
      (__m256)(HEBB_SHUFFLE(ab, cd, 0, 1, 8, 9, 4, 5, 12, 13) + HEBB_SHUFFLE(ab, cd, 2, 3, 10, 11, 6, 7, 14, 15));
  return (Vec4)_mm_add_ps(_mm256_castps256_ps128(s), _mm256_extractf128_ps(s, 1));
#else
  const Vec ab = HEBB_SHUFFLE(a, b, 0, 4, 1, 5) + HEBB_SHUFFLE(a, b, 2, 6, 3, 7);
  const Vec cd = HEBB_SHUFFLE(c, d, 0, 4, 1, 5) + HEBB_SHUFFLE(c, d, 2, 6, 3, 7);
  return HEBB_SHUFFLE(ab, cd, 0, 1, 4, 5) + HEBB_SHUFFLE(ab, cd, 2, 3, 6, 7);
#endif
}

/// Bit i is set where lane i of the mask is.
HEBB_INLINE uint32_t lanesOf(IntVec mask) {
#if defined(__AVX512F__)
  return _mm512_movepi32_mask((__m512i)mask);
#elif defined(__AVX2__)
  return static_cast<uint32_t>(_mm256_movemask_ps((__m256)mask));
#elif defined(__x86_64__)
  return static_cast<uint32_t>(_mm_movemask_ps((__m128)mask));
#else
  uint32_t bits = 0;
  for (int i = 0; i < W; ++i) bits |= static_cast<uint32_t>(mask[i] != 0) << i;
  return bits;
#endif
}

/// Stores the lanes that `lanes` names one after the other, and returns their number. What follows them, up to a whole
/// vector, is overwritten.
HEBB_INLINE int pack(UintVec v, uint32_t lanes, uint32_t* out) {
#if defined(__AVX512F__)
  _mm512_storeu_si512(out, _mm512_maskz_compress_epi32(static_cast<__mmask16>(lanes), (__m512i)v));
#else
  for (uint32_t left = lanes; left; left &= left - 1) *out++ = v[__builtin_ctz(left)];
#endif
  return __builtin_popcount(lanes);
}

/// The other way: the lanes of 16 floats that `lanes` names become the floats at `from`, one after the other, the
/// others 0. Returns their number.
HEBB_INLINE int expand16(const float* from, uint32_t lanes, float* out) {
#if defined(__AVX512F__)
  _mm512_storeu_ps(out, _mm512_maskz_expandloadu_ps(static_cast<__mmask16>(lanes), from));
#else
  for (int i = 0; i < 16; i += 4) store4(out + i, Vec4{});
  for (uint32_t left = lanes; left; left &= left - 1) out[__builtin_ctz(left)] = *from++;
#endif
  return __builtin_popcount(lanes);
}

#if defined(__AVX2__)
/// The 64-bit products of the lower halves of 64-bit lanes with m.
HEBB_INLINE LongVec multiplyEven(LongVec a, uint32_t m) {
#if defined(__AVX512F__)
  // Not the form without a mask: GCC 12 warns inside its header.
  return (LongVec)_mm512_maskz_mul_epu32(0xFF, (__m512i)a, _mm512_set1_epi64(m));
#else
  return (LongVec)_mm256_mul_epu32((__m256i)a, _mm256_set1_epi64x(m));
#endif
}
#endif

/// The high and low halves of the 64-bit products of the lanes with m.
HEBB_INLINE void multiplyWide(UintVec a, uint32_t m, UintVec& high, UintVec& low) {
#if defined(__AVX512F__)
  const LongVec even = multiplyEven((LongVec)a, m), odd = multiplyEven((LongVec)a >> 32, m);
  high = (UintVec)_mm512_mask_blend_epi32(0xAAAA, (__m512i)(even >> 32), (__m512i)odd);
  low = a * m;
#elif defined(__AVX2__)
  const __m256i x = (__m256i)a, y = _mm256_set1_epi32(static_cast<int>(m));
  const __m256i even = _mm256_mul_epu32(x, y), odd = _mm256_mul_epu32(_mm256_srli_epi64(x, 32), y);
  high = (UintVec)_mm256_blend_epi32(_mm256_srli_epi64(even, 32), odd, 0xAA);
  low = (UintVec)_mm256_mullo_epi32(x, y);
#else
  for (int i = 0; i < W; ++i) {
    const uint64_t product = static_cast<uint64_t>(a[i]) * m;
    high[i] = static_cast<uint32_t>(product >> 32);
    low[i] = static_cast<uint32_t>(product);
  }
#endif
}

/// philox() for W places at once: counters (c0[i], c1[i], step, purpose). Words that are not used cost nothing.
HEBB_INLINE void philoxLanes(uint64_t seed, UintVec c0, UintVec c1, uint32_t step, uint32_t purpose,
                             UintVec (&words)[4]) {
  uint32_t k0 = static_cast<uint32_t>(seed), k1 = static_cast<uint32_t>(seed >> 32);
  UintVec c2 = step - UintVec{}, c3 = purpose - UintVec{};
  for (int round = 0; round < kPhiloxRounds; ++round) {
    UintVec h0, l0, h1, l1;
    multiplyWide(c0, kPhiloxMultiplier0, h0, l0);
    multiplyWide(c2, kPhiloxMultiplier1, h1, l1);
    c0 = h1 ^ c1 ^ k0;
    c1 = l1;
    c2 = h0 ^ c3 ^ k1;
    c3 = l0;
    k0 += kPhiloxWeyl0;
    k1 += kPhiloxWeyl1;
  }
  words[0] = c0;
  words[1] = c1;
  words[2] = c2;
  words[3] = c3;
}

/// Unsigned lanes to floats, rounded to nearest as a scalar cast does.
HEBB_INLINE Vec toFloat(UintVec v) {
#if defined(__AVX512F__)
  return (Vec)_mm512_cvtepu32_ps((__m512i)v);
#else
  Vec r;
  for (int i = 0; i < W; ++i) r[i] = static_cast<float>(v[i]);
  return r;
#endif
}

/// The first and the second half of the lanes as floats, exactly.
HEBB_INLINE void toFloats(ShortVec v, Vec& first, Vec& second) {
  HalfShortVec halves[2];
  __builtin_memcpy(halves, &v, sizeof v);
  first = __builtin_convertvector(__builtin_convertvector(halves[0], IntVec), Vec);
  second = __builtin_convertvector(__builtin_convertvector(halves[1], IntVec), Vec);
}

/// philox() for many columns of one row: what depends on the row alone is done once.
class PhiloxRow {
 public:
  PhiloxRow(uint64_t seed, uint32_t row, uint32_t step, uint32_t purpose) {
    uint32_t k0 = static_cast<uint32_t>(seed), k1 = static_cast<uint32_t>(seed >> 32);
    for (int round = 0; round < kPhiloxRounds; ++round) {
      key0_[round] = k0 + static_cast<uint32_t>(round) * kPhiloxWeyl0;
      key1_[round] = k1 + static_cast<uint32_t>(round) * kPhiloxWeyl1;
    }
    const auto high = [](uint32_t a, uint32_t b) { return static_cast<uint32_t>(static_cast<uint64_t>(a) * b >> 32); };
    // Round 1 has the column in its second word alone; rounds 2 and 3 spread it over the others.
    first_ = high(step, kPhiloxMultiplier1) ^ key0_[0];
    const uint32_t n1 = step * kPhiloxMultiplier1, n2 = high(row, kPhiloxMultiplier0) ^ purpose ^ key1_[0],
                   n3 = row * kPhiloxMultiplier0;
    const uint32_t m0 = high(n2, kPhiloxMultiplier1) ^ n1 ^ key0_[1];
    second_ = n3 ^ key1_[1];
    third_ = n2 * kPhiloxMultiplier1 ^ key0_[2];
    fourth_ = high(m0, kPhiloxMultiplier0) ^ key1_[2];
    fifth_ = m0 * kPhiloxMultiplier0;
  }

  /// All four words of the columns. Words that are not used cost little.
  HEBB_INLINE void words(UintVec columns, UintVec (&out)[4]) const {
#if defined(__AVX2__)
    LongVec even[4], odd[4];
    halvesOf((LongVec)columns, even);
    halvesOf((LongVec)columns >> 32, odd);
    for (int i = 0; i < 4; ++i) {
      even[i] &= 0xFFFFFFFFu;
      out[i] = (UintVec)(even[i] | odd[i] << 32);
    }
#else
    wordsOf(
        columns, [](UintVec a, uint32_t m) { return Product{a, m}; }, [](const Product& p) { return p.high; },
        [](const Product& p) { return p.low; }, [](uint32_t x) { return x - UintVec{}; }, out);
#endif
  }

  /// The first word.
  HEBB_INLINE UintVec word(UintVec columns) const {
    UintVec all[4];
    words(columns, all);
    return all[0];
  }

 private:
  /// The rounds, on whatever holds a word in each lane: product(a, m), its high and low word, and all lanes the same.
  template <class Words, class Times, class High, class Low, class Splat>
  HEBB_INLINE void wordsOf(Words columns, const Times& product, const High& high, const Low& low, const Splat& all,
                           Words (&out)[4]) const {
    const auto a = product(columns ^ all(first_), kPhiloxMultiplier0);
    const auto b = product(high(a) ^ all(second_), kPhiloxMultiplier1);
    Words c0 = high(b) ^ all(third_), c1 = low(b), c2 = low(a) ^ all(fourth_), c3 = all(fifth_);
    for (int round = 3; round < kPhiloxRounds; ++round) {
      const auto p0 = product(c0, kPhiloxMultiplier0), p1 = product(c2, kPhiloxMultiplier1);
      c0 = high(p1) ^ c1 ^ all(key0_[round]);
      c1 = low(p1);
      c2 = high(p0) ^ c3 ^ all(key1_[round]);
      c3 = low(p0);
    }
    out[0] = c0;
    out[1] = c1;
    out[2] = c2;
    out[3] = c3;
  }
#if defined(__AVX2__)
  // A word in the lower half of each 64-bit lane; the multiplication does not read what is in the upper one.
  HEBB_INLINE void halvesOf(LongVec columns, LongVec (&out)[4]) const {
    wordsOf(
        columns, multiplyEven, [](LongVec p) { return p >> 32; }, [](LongVec p) { return p; },
        [](uint32_t x) { return (LongVec)(x - UintVec{}); }, out);
  }
#else
  struct Product {
    Product(UintVec a, uint32_t m) { multiplyWide(a, m, high, low); }
    UintVec high, low;
  };
#endif
  uint32_t key0_[kPhiloxRounds], key1_[kPhiloxRounds], first_, second_, third_, fourth_, fifth_;
};

/// The lanes of a and b in turn: a0 b0 a1 b1 and so on, of `Size` neighbours together.
template <int Size, class V, int... I>
HEBB_INLINE V zipped(V a, V b, bool upper, std::integer_sequence<int, I...>) {
  constexpr auto at = [](int lane, int from) {
    const int pair = lane / (2 * Size), place = lane % (2 * Size);
    return from + pair * Size + place % Size + (place >= Size ? W : 0);
  };
  return upper ? HEBB_SHUFFLE(a, b, at(I, W / 2)...) : HEBB_SHUFFLE(a, b, at(I, 0)...);
}

/// One step of transpose(): squares of `Size` lanes change places across the diagonal.
template <int Size, int... I>
HEBB_INLINE void swapSquares(Vec (&rows)[W], std::integer_sequence<int, I...>) {
  for (int i = 0; i < W; ++i) {
    if (i & Size) continue;
    const Vec a = rows[i], b = rows[i + Size];
    rows[i] = HEBB_SHUFFLE(a, b, (I & Size ? W + I - Size : I)...);
    rows[i + Size] = HEBB_SHUFFLE(a, b, (I & Size ? W + I : I + Size)...);
  }
  if constexpr (2 * Size < W) swapSquares<2 * Size>(rows, std::integer_sequence<int, I...>{});
}

/// Lane j of vector i becomes lane i of vector j.
HEBB_INLINE void transpose(Vec (&rows)[W]) { swapSquares<1>(rows, std::make_integer_sequence<int, W>{}); }

/// Words of W draws, [4][W], in the order of the 4 W elements that they are for.
HEBB_INLINE void inOrder(const UintVec (&words)[4], UintVec (&out)[4]) {
  constexpr auto lanes = std::make_integer_sequence<int, W>{};
  for (int half = 0; half < 2; ++half) {
    const UintVec first = zipped<1>(words[0], words[1], half, lanes),
                  second = zipped<1>(words[2], words[3], half, lanes);
    out[2 * half] = zipped<2>(first, second, false, lanes);
    out[2 * half + 1] = zipped<2>(first, second, true, lanes);
  }
}

}  // namespace hebb::cpu::HEBB_LEVEL

namespace hebb {

template <>
struct LaneTraits<cpu::HEBB_LEVEL::Vec> {
  using F = cpu::HEBB_LEVEL::Vec;
  using Int = cpu::HEBB_LEVEL::IntVec;
  static HEBB_INLINE F splat(float x) { return cpu::HEBB_LEVEL::splat(x); }
  static HEBB_INLINE F fma(F a, F b, F c) {
#if defined(__AVX2__) || defined(__ARM_NEON)
    return cpu::HEBB_LEVEL::mulAdd(a, b, c);
#else  // no instruction for it: the exact result from the C library
    for (int i = 0; i < cpu::HEBB_LEVEL::W; ++i) a[i] = ::fmaf(a[i], b[i], c[i]);
    return a;
#endif
  }
  static HEBB_INLINE F sqrt(F x) {
#if defined(__AVX512F__)
    return (F)_mm512_sqrt_ps((__m512)x);
#elif defined(__AVX2__)
    return (F)_mm256_sqrt_ps((__m256)x);
#elif defined(__x86_64__)
    return (F)_mm_sqrt_ps((__m128)x);
#else
    for (int i = 0; i < cpu::HEBB_LEVEL::W; ++i) x[i] = ::sqrtf(x[i]);
    return x;
#endif
  }
  static HEBB_INLINE Int toBits(F x) { return (Int)x; }
  static HEBB_INLINE F fromBits(Int bits) { return (F)bits; }
  static HEBB_INLINE F convert(Int i) { return __builtin_convertvector(i, F); }
  static HEBB_INLINE F select(Int mask, F a, F b) { return mask ? a : b; }
};

}  // namespace hebb
