// CUDA's device language in C++: what kernels say, said to a host compiler. cuda/launch.cuh includes this in place of
// CUDA's headers where HEBB_EMULATION is defined. The threads of a block are fibers of one operating-system thread
// (block.cc); blocks run one after the other. What a GPU leaves undefined ends the launch with a report: barriers and
// warp primitives that not all reach, lanes that have left, misaligned vectors.
#pragma once

#include <math.h>

#include <cmath>
#include <cstdint>
#include <cstring>
#include <type_traits>

#include "runtime.h"

#define __global__
#define __device__
#define __host__
#define __constant__ static const
#define __forceinline__ inline
#define __launch_bounds__(...)
#define __align__(bytes) alignas(bytes)

extern uint3 threadIdx, blockIdx;
extern dim3 blockDim, gridDim;
inline constexpr int warpSize = 32;

namespace hebb::emulation {

/// Ends the launch, with an error that stays with the device as on a GPU.
[[noreturn]] void fault(cudaError_t error, const char* format, ...) __attribute__((format(printf, 2, 3)));

enum class Barrier { plain, count, all, any };
int barrier(Barrier kind, int predicate, const char* file, int line);

enum class Collective {
  barrier,
  shuffle,
  shuffleUp,
  shuffleDown,
  shuffleXor,
  ballot,
  any,
  all,
  match,
  add,
  least,
  most,
  bitAnd,
  bitOr,
  bitXor,
  multiplyTf32,
  multiplyHalf
};
/// What a lane brings to a warp primitive and takes from it.
struct Word {
  uint64_t bits;
  bool isSigned;
};
Word collective(Collective kind, unsigned mask, Word word, int argument, int width, const char* file, int line);

/// The bits of numbers rounded to tf32 (to nearest, ties away from zero) and fp16 (ties to even).
uint32_t tf32Of(float x);
uint32_t halfOf(float x);
enum class Operands { tf32, half };
/// mma.sync: sums += a b, on the fragments of the whole warp's lanes (cuda/launch.cuh says which numbers a lane holds).
/// How a tensor core rounds is not documented; this one is no better than those that were measured: the addends of a
/// sum, exact products all, lose what lies below 24 bits of the largest one, and the sum is cut off too.
void multiply(Operands operands, float4& sums, const uint4& a, const uint2& b, const char* file, int line);

/// The block's copy of a shared variable. Its bytes are 0xff to begin with: NaN, -1.
void* sharedVariable(const void* key, size_t bytes, size_t alignment);
void* sharedDynamic();
void fence();

/// cp.async of N bytes to shared memory: not there before this thread has waited for its group, a write from now on.
/// Bytes from `valid` on are not read and become zeros.
void copyAsync(void* shared, const void* global, int bytes, int valid);
inline void copyAsync(void* shared, const void* global, int bytes) { copyAsync(shared, global, bytes, bytes); }
void commitCopies();
/// Waits until at most `groups` of the newest groups are under way.
void waitForCopies(int groups);

template <class T>
Word pack(T value) {
  static_assert(std::is_trivially_copyable_v<T> && sizeof(T) <= 8);
  Word word{0, std::is_signed_v<T>};
  std::memcpy(&word.bits, &value, sizeof value);
  return word;
}
template <class T>
T unpack(Word word) {
  T value;
  std::memcpy(&value, &word.bits, sizeof value);
  return value;
}
template <class T>
T shuffle(Collective kind, unsigned mask, T value, int argument, int width, const char* file, int line) {
  static_assert(std::is_arithmetic_v<T> && sizeof(T) >= 4, "CUDA shuffles 32-bit and 64-bit numbers");
  return unpack<T>(collective(kind, mask, pack(value), argument, width, file, line));
}
template <class T>
T reduce(Collective kind, unsigned mask, T value, const char* file, int line) {
  static_assert(std::is_integral_v<T> && sizeof(T) == 4, "CUDA reduces 32-bit integers");
  return static_cast<T>(unpack<unsigned>(collective(kind, mask, pack(value), 0, 32, file, line)));
}
template <class To, class From>
To bitsAs(From value) {
  static_assert(sizeof(To) == sizeof(From));
  To to;
  std::memcpy(&to, &value, sizeof to);
  return to;
}
}  // namespace hebb::emulation

/// Shared memory of fixed size: HEBB_SHARED(float, tile, [32][33]).
#define HEBB_SHARED(Type, name, extents)                                              \
  using name##Shared = Type extents;                                                  \
  static const char name##Key = 0;                                                    \
  name##Shared& name = *static_cast<name##Shared*>(::hebb::emulation::sharedVariable( \
      &name##Key, sizeof(name##Shared), alignof(name##Shared) > 16 ? alignof(name##Shared) : 16))
/// Shared memory of the size given to launch(), as an array of Type.
#define HEBB_SHARED_DYNAMIC(Type, name) Type* const name = static_cast<Type*>(::hebb::emulation::sharedDynamic())

// ---- barriers and warp primitives. The default arguments are the place of the call.

#define HEBB_HERE const char *file = __builtin_FILE(), int line = __builtin_LINE()
#define HEBB_COLLECTIVE ::hebb::emulation::Collective
inline void __syncthreads(HEBB_HERE) { hebb::emulation::barrier(hebb::emulation::Barrier::plain, 0, file, line); }
inline int __syncthreads_count(int predicate, HEBB_HERE) {
  return hebb::emulation::barrier(hebb::emulation::Barrier::count, predicate, file, line);
}
inline int __syncthreads_and(int predicate, HEBB_HERE) {
  return hebb::emulation::barrier(hebb::emulation::Barrier::all, predicate, file, line);
}
inline int __syncthreads_or(int predicate, HEBB_HERE) {
  return hebb::emulation::barrier(hebb::emulation::Barrier::any, predicate, file, line);
}
inline void __syncwarp(unsigned mask = 0xffffffffu, HEBB_HERE) {
  hebb::emulation::collective(HEBB_COLLECTIVE::barrier, mask, {}, 0, 32, file, line);
}

template <class T>
T __shfl_sync(unsigned mask, T value, int lane, int width = 32, HEBB_HERE) {
  return hebb::emulation::shuffle(HEBB_COLLECTIVE::shuffle, mask, value, lane, width, file, line);
}
template <class T>
T __shfl_up_sync(unsigned mask, T value, unsigned delta, int width = 32, HEBB_HERE) {
  return hebb::emulation::shuffle(HEBB_COLLECTIVE::shuffleUp, mask, value, static_cast<int>(delta), width, file, line);
}
template <class T>
T __shfl_down_sync(unsigned mask, T value, unsigned delta, int width = 32, HEBB_HERE) {
  return hebb::emulation::shuffle(HEBB_COLLECTIVE::shuffleDown, mask, value, static_cast<int>(delta), width, file,
                                  line);
}
template <class T>
T __shfl_xor_sync(unsigned mask, T value, int bits, int width = 32, HEBB_HERE) {
  return hebb::emulation::shuffle(HEBB_COLLECTIVE::shuffleXor, mask, value, bits, width, file, line);
}
inline unsigned __ballot_sync(unsigned mask, int predicate, HEBB_HERE) {
  return hebb::emulation::reduce(HEBB_COLLECTIVE::ballot, mask, static_cast<unsigned>(predicate != 0), file, line);
}
inline int __any_sync(unsigned mask, int predicate, HEBB_HERE) {
  return hebb::emulation::reduce(HEBB_COLLECTIVE::any, mask, static_cast<int>(predicate != 0), file, line);
}
inline int __all_sync(unsigned mask, int predicate, HEBB_HERE) {
  return hebb::emulation::reduce(HEBB_COLLECTIVE::all, mask, static_cast<int>(predicate != 0), file, line);
}
template <class T>
unsigned __match_any_sync(unsigned mask, T value, HEBB_HERE) {
  static_assert(std::is_arithmetic_v<T> && sizeof(T) >= 4);
  return hebb::emulation::unpack<unsigned>(
      hebb::emulation::collective(HEBB_COLLECTIVE::match, mask, hebb::emulation::pack(value), 0, 32, file, line));
}
#define HEBB_REDUCE(name, kind, T)                                                  \
  inline T name(unsigned mask, T value, HEBB_HERE) {                                \
    return hebb::emulation::reduce(HEBB_COLLECTIVE::kind, mask, value, file, line); \
  }
HEBB_REDUCE(__reduce_add_sync, add, int)
HEBB_REDUCE(__reduce_add_sync, add, unsigned)
HEBB_REDUCE(__reduce_min_sync, least, int)
HEBB_REDUCE(__reduce_min_sync, least, unsigned)
HEBB_REDUCE(__reduce_max_sync, most, int)
HEBB_REDUCE(__reduce_max_sync, most, unsigned)
HEBB_REDUCE(__reduce_and_sync, bitAnd, unsigned)
HEBB_REDUCE(__reduce_or_sync, bitOr, unsigned)
HEBB_REDUCE(__reduce_xor_sync, bitXor, unsigned)
#undef HEBB_REDUCE
#undef HEBB_COLLECTIVE

inline void __threadfence() { hebb::emulation::fence(); }
inline void __threadfence_block() { hebb::emulation::fence(); }
[[noreturn]] inline void __trap() { hebb::emulation::fault(cudaErrorLaunchFailure, "__trap()"); }

// ---- atomics: relaxed as on a GPU, and atomics to ThreadSanitizer

#define HEBB_ATOMICS(T)                                                                               \
  inline T atomicAdd(T* at, T value) { return __atomic_fetch_add(at, value, __ATOMIC_RELAXED); }      \
  inline T atomicExch(T* at, T value) { return __atomic_exchange_n(at, value, __ATOMIC_RELAXED); }    \
  inline T atomicOr(T* at, T value) { return __atomic_fetch_or(at, value, __ATOMIC_RELAXED); }        \
  inline T atomicAnd(T* at, T value) { return __atomic_fetch_and(at, value, __ATOMIC_RELAXED); }      \
  inline T atomicXor(T* at, T value) { return __atomic_fetch_xor(at, value, __ATOMIC_RELAXED); }      \
  inline T atomicCAS(T* at, T expected, T value) {                                                    \
    __atomic_compare_exchange_n(at, &expected, value, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED);     \
    return expected;                                                                                  \
  }                                                                                                   \
  inline T atomicMax(T* at, T value) {                                                                \
    T old = __atomic_load_n(at, __ATOMIC_RELAXED);                                                    \
    while (!__atomic_compare_exchange_n(at, &old, old > value ? old : value, false, __ATOMIC_RELAXED, \
                                        __ATOMIC_RELAXED)) {                                          \
    }                                                                                                 \
    return old;                                                                                       \
  }                                                                                                   \
  inline T atomicMin(T* at, T value) {                                                                \
    T old = __atomic_load_n(at, __ATOMIC_RELAXED);                                                    \
    while (!__atomic_compare_exchange_n(at, &old, old < value ? old : value, false, __ATOMIC_RELAXED, \
                                        __ATOMIC_RELAXED)) {                                          \
    }                                                                                                 \
    return old;                                                                                       \
  }
HEBB_ATOMICS(int)
HEBB_ATOMICS(unsigned)
HEBB_ATOMICS(unsigned long long)
#undef HEBB_ATOMICS
inline int atomicSub(int* at, int value) { return __atomic_fetch_sub(at, value, __ATOMIC_RELAXED); }
inline unsigned atomicSub(unsigned* at, unsigned value) { return __atomic_fetch_sub(at, value, __ATOMIC_RELAXED); }

// ---- loads and stores with a hint

#define HEBB_LOAD(name)      \
  template <class T>         \
  T name(const T* address) { \
    return *address;         \
  }
HEBB_LOAD(__ldg)
HEBB_LOAD(__ldca)
HEBB_LOAD(__ldcg)
HEBB_LOAD(__ldcs)
HEBB_LOAD(__ldcv)
HEBB_LOAD(__ldlu)
#undef HEBB_LOAD
#define HEBB_STORE(name)           \
  template <class T>               \
  void name(T* address, T value) { \
    *address = value;              \
  }
HEBB_STORE(__stcg)
HEBB_STORE(__stcs)
HEBB_STORE(__stwb)
HEBB_STORE(__stwt)
#undef HEBB_STORE

// ---- integers

inline int __popc(unsigned x) { return __builtin_popcount(x); }
inline int __popcll(unsigned long long x) { return __builtin_popcountll(x); }
inline int __clz(int x) { return x ? __builtin_clz(static_cast<unsigned>(x)) : 32; }
inline int __clzll(long long x) { return x ? __builtin_clzll(static_cast<unsigned long long>(x)) : 64; }
inline int __ffs(int x) { return __builtin_ffs(x); }
inline int __ffsll(long long x) { return __builtin_ffsll(x); }
inline unsigned __brev(unsigned x) {
  unsigned reversed = 0;
  for (int i = 0; i < 32; ++i) reversed |= (x >> i & 1u) << (31 - i);
  return reversed;
}
inline unsigned long long __brevll(unsigned long long x) {
  return static_cast<unsigned long long>(__brev(static_cast<unsigned>(x))) << 32 |
         __brev(static_cast<unsigned>(x >> 32));
}
inline int __mulhi(int a, int b) { return static_cast<int>(static_cast<int64_t>(a) * b >> 32); }
inline unsigned __umulhi(unsigned a, unsigned b) { return static_cast<unsigned>(static_cast<uint64_t>(a) * b >> 32); }
inline unsigned long long __umul64hi(unsigned long long a, unsigned long long b) {
  return static_cast<unsigned long long>(static_cast<unsigned __int128>(a) * b >> 64);
}
inline unsigned __funnelshift_l(unsigned low, unsigned high, unsigned shift) {
  return static_cast<unsigned>((static_cast<uint64_t>(high) << 32 | low) << (shift & 31) >> 32);
}
inline unsigned __funnelshift_r(unsigned low, unsigned high, unsigned shift) {
  return static_cast<unsigned>((static_cast<uint64_t>(high) << 32 | low) >> (shift & 31));
}

// ---- floating point, rounded to nearest

inline float __fadd_rn(float a, float b) { return a + b; }
inline float __fsub_rn(float a, float b) { return a - b; }
inline float __fmul_rn(float a, float b) { return a * b; }
inline float __fmaf_rn(float a, float b, float c) { return ::fmaf(a, b, c); }
inline float __fdiv_rn(float a, float b) { return a / b; }
inline float __frcp_rn(float a) { return 1.f / a; }
inline float __fsqrt_rn(float a) { return ::sqrtf(a); }
inline double __dadd_rn(double a, double b) { return a + b; }
inline double __dsub_rn(double a, double b) { return a - b; }
inline double __dmul_rn(double a, double b) { return a * b; }
inline double __ddiv_rn(double a, double b) { return a / b; }
inline double __fma_rn(double a, double b, double c) { return ::fma(a, b, c); }
inline double __dsqrt_rn(double a) { return ::sqrt(a); }
inline float rsqrtf(float a) { return static_cast<float>(1. / ::sqrt(static_cast<double>(a))); }
inline float __saturatef(float a) { return a > 0.f ? (a < 1.f ? a : 1.f) : 0.f; }

inline float __int2float_rn(int a) { return static_cast<float>(a); }
inline float __uint2float_rn(unsigned a) { return static_cast<float>(a); }
inline float __ull2float_rn(unsigned long long a) { return static_cast<float>(a); }
inline float __double2float_rn(double a) { return static_cast<float>(a); }
inline double __ull2double_rn(unsigned long long a) { return static_cast<double>(a); }
inline int __float2int_rn(float a) { return static_cast<int>(::nearbyintf(a)); }
inline int __float2int_rd(float a) { return static_cast<int>(::floorf(a)); }
inline int __float2int_rz(float a) { return static_cast<int>(a); }

inline int __float_as_int(float a) { return hebb::emulation::bitsAs<int>(a); }
inline unsigned __float_as_uint(float a) { return hebb::emulation::bitsAs<unsigned>(a); }
inline float __int_as_float(int a) { return hebb::emulation::bitsAs<float>(a); }
inline float __uint_as_float(unsigned a) { return hebb::emulation::bitsAs<float>(a); }
inline long long __double_as_longlong(double a) { return hebb::emulation::bitsAs<long long>(a); }
inline double __longlong_as_double(long long a) { return hebb::emulation::bitsAs<double>(a); }

#define HEBB_LEAST_AND_MOST(T)                     \
  inline T min(T a, T b) { return b < a ? b : a; } \
  inline T max(T a, T b) { return a < b ? b : a; }
HEBB_LEAST_AND_MOST(int)
HEBB_LEAST_AND_MOST(unsigned)
HEBB_LEAST_AND_MOST(long)
HEBB_LEAST_AND_MOST(unsigned long)
HEBB_LEAST_AND_MOST(long long)
HEBB_LEAST_AND_MOST(unsigned long long)
#undef HEBB_LEAST_AND_MOST
// Of a number and a NaN, CUDA takes the number.
inline float min(float a, float b) { return ::fminf(a, b); }
inline float max(float a, float b) { return ::fmaxf(a, b); }
inline double min(double a, double b) { return ::fmin(a, b); }
inline double max(double a, double b) { return ::fmax(a, b); }
