// The one place for launches, shared memory, cache hints, warp primitives, tensor cores and PTX. Kernels include this
// and nothing else of CUDA's, so that test/emulation can compile the same sources with a host compiler: its emulation.h
// says these words in C++.
#pragma once

#if defined(HEBB_EMULATION)
#include "emulation.h"

namespace hebb::cuda {
/// A word that another block may be writing now. Nothing else follows from what is read.
template <class T>
T loadRacing(const T* address) {
  T value;
  __atomic_load(address, &value, __ATOMIC_RELAXED);
  return value;
}
template <class T>
void storeRacing(T* address, T value) {
  __atomic_store(address, &value, __ATOMIC_RELAXED);
}

/// Begins a copy of 16 bytes from global to shared memory, both 16-byte aligned. It is there once its thread has waited
/// for its group.
inline void copyAsync16(void* shared, const void* global) { emulation::copyAsync(shared, global, 16); }
/// Makes the copies since the last call a group.
inline void commitCopies() { emulation::commitCopies(); }
/// Waits until at most the newest `Groups` of this thread's groups are under way.
template <int Groups>
void waitForCopies() {
  emulation::waitForCopies(Groups);
}
/// As copyAsync16, of `Bytes`, 4 or 16; only the first `valid` are read, the others become zeros.
template <int Bytes>
void copyAsyncOrZero(void* shared, const void* global, int valid) {
  emulation::copyAsync(shared, global, Bytes, valid);
}

/// The nearest number of ten fraction bits, of two the one away from zero, as tensor cores take it.
inline uint32_t tf32Of(float x) { return emulation::tf32Of(x); }
/// Two fp16 numbers in a word, each rounded to nearest, `low` in the lower half.
inline uint32_t halvesOf(float low, float high) { return emulation::halfOf(high) << 16 | emulation::halfOf(low); }
/// sums += a b on a tensor core, with tf32 operands of tf32Of: a 16 x 8, b 8 x 8. Called by the whole warp; with g =
/// lane / 4 and t = lane % 4, a lane holds a[g][t], a[g + 8][t], a[g][t + 4], a[g + 8][t + 4]; b[t][g], b[t + 4][g];
/// and the sums [g][2t], [g][2t + 1], [g + 8][2t], [g + 8][2t + 1].
inline void multiplyTf32(float4& sums, uint4 a, uint2 b, HEBB_HERE) {
  emulation::multiply(emulation::Operands::tf32, sums, a, b, file, line);
}
/// The same with fp16 operands, two to a word: a 16 x 16, b 16 x 8. The words are a[g][2t..], a[g + 8][2t..], a[g][2t +
/// 8..], a[g + 8][2t + 8..]; b[2t..][g], b[2t + 8..][g].
inline void multiplyHalf(float4& sums, uint4 a, uint2 b, HEBB_HERE) {
  emulation::multiply(emulation::Operands::half, sums, a, b, file, line);
}
#undef HEBB_HERE
}  // namespace hebb::cuda
#else
#include <cuda_runtime.h>

#include <cstdint>

/// Shared memory of fixed size: HEBB_SHARED(float, tile, [32][33]).
#define HEBB_SHARED(Type, name, extents) __shared__ Type name extents
/// Shared memory of the size given to launch(), as an array of Type.
#define HEBB_SHARED_DYNAMIC(Type, name)                         \
  extern __shared__ __align__(16) unsigned char hebb_shared_[]; \
  Type* const name = reinterpret_cast<Type*>(hebb_shared_)

namespace hebb::cuda {
/// A word that another block may be writing now. Nothing else follows from what is read.
template <class T>
__device__ __forceinline__ T loadRacing(const T* address) {
  return *const_cast<const volatile T*>(address);
}
template <class T>
__device__ __forceinline__ void storeRacing(T* address, T value) {
  *const_cast<volatile T*>(address) = value;
}

/// Begins a copy of 16 bytes from global to shared memory, both 16-byte aligned, past L1. It is there once its thread
/// has waited for its group.
__device__ __forceinline__ void copyAsync16(void* shared, const void* global) {
  asm volatile(
      "cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(static_cast<unsigned>(__cvta_generic_to_shared(shared))),
      "l"(global)
      : "memory");
}
/// Makes the copies since the last call a group.
__device__ __forceinline__ void commitCopies() { asm volatile("cp.async.commit_group;" ::: "memory"); }
/// Waits until at most the newest `Groups` of this thread's groups are under way.
template <int Groups>
__device__ __forceinline__ void waitForCopies() {
  asm volatile("cp.async.wait_group %0;" ::"n"(Groups) : "memory");
}
/// As copyAsync16, of `Bytes`, 4 or 16; only the first `valid` are read, the others become zeros.
template <int Bytes>
__device__ __forceinline__ void copyAsyncOrZero(void* shared, const void* global, int valid) {
  static_assert(Bytes == 4 || Bytes == 16);
  const auto to = static_cast<unsigned>(__cvta_generic_to_shared(shared));
  if constexpr (Bytes == 16)
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(to), "l"(global), "r"(valid) : "memory");
  else asm volatile("cp.async.ca.shared.global [%0], [%1], 4, %2;" ::"r"(to), "l"(global), "r"(valid) : "memory");
}

/// The nearest number of ten fraction bits, of two the one away from zero, as tensor cores take it.
__device__ __forceinline__ uint32_t tf32Of(float x) {
  uint32_t bits;
  asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(bits) : "f"(x));
  return bits;
}
/// Two fp16 numbers in a word, each rounded to nearest, `low` in the lower half.
__device__ __forceinline__ uint32_t halvesOf(float low, float high) {
  uint32_t bits;
  asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(bits) : "f"(high), "f"(low));
  return bits;
}
/// sums += a b on a tensor core, with tf32 operands of tf32Of: a 16 x 8, b 8 x 8. Called by the whole warp; with g =
/// lane / 4 and t = lane % 4, a lane holds a[g][t], a[g + 8][t], a[g][t + 4], a[g + 8][t + 4]; b[t][g], b[t + 4][g];
/// and the sums [g][2t], [g][2t + 1], [g + 8][2t], [g + 8][2t + 1].
__device__ __forceinline__ void multiplyTf32(float4& sums, uint4 a, uint2 b) {
  asm volatile(
      "mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, "
      "%3};"
      : "+f"(sums.x), "+f"(sums.y), "+f"(sums.z), "+f"(sums.w)
      : "r"(a.x), "r"(a.y), "r"(a.z), "r"(a.w), "r"(b.x), "r"(b.y));
}
/// The same with fp16 operands, two to a word: a 16 x 16, b 16 x 8. The words are a[g][2t..], a[g + 8][2t..], a[g][2t +
/// 8..], a[g + 8][2t + 8..]; b[2t..][g], b[2t + 8..][g].
__device__ __forceinline__ void multiplyHalf(float4& sums, uint4 a, uint2 b) {
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, "
      "%3};"
      : "+f"(sums.x), "+f"(sums.y), "+f"(sums.z), "+f"(sums.w)
      : "r"(a.x), "r"(a.y), "r"(a.z), "r"(a.w), "r"(b.x), "r"(b.y));
}
}  // namespace hebb::cuda
#endif

#include <cstdint>
#include <utility>

#include "cuda.h"

namespace hebb::cuda {

inline constexpr int kWarp = 32;
inline constexpr unsigned kWholeWarp = 0xffffffffu;

/// Queues a kernel on the device's stream. `operation` is the name that an error is reported with. What goes wrong
/// while the kernel runs is reported by the next call that waits.
template <class... Parameters, class... Arguments>
Status launch(Cuda& cuda, const char* operation, void (*kernel)(Parameters...), int64_t blocks, dim3 threads,
              size_t sharedBytes, Arguments&&... arguments) {
  if (blocks == 0) return {};
  if (blocks < 0 || blocks > INT32_MAX) {
    return {Code::unsupported, std::string("Expected ") + operation +
                                   " to need fewer than 2^31 blocks of threads, got " + std::to_string(blocks) +
                                   ". Use fewer columns."};
  }
  HEBB_RETURN_IF_ERROR(cuda.select());
  cudaLaunchConfig_t config{};
  config.gridDim = dim3(static_cast<unsigned>(blocks));
  config.blockDim = threads;
  config.dynamicSmemBytes = sharedBytes;
  config.stream = cuda.stream();
#if defined(HEBB_EMULATION)
  config.operation = operation;  // for reports
#endif
  const cudaError_t error = cudaLaunchKernelEx(&config, kernel, std::forward<Arguments>(arguments)...);
  return error == cudaSuccess ? Status{} : cuda.report(error, std::string("launch ") + operation);
}

/// Lets a kernel be launched with more shared memory than 48 KiB, which CUDA wants to be asked for.
template <class... Parameters>
Status allowShared(Cuda& cuda, const char* operation, void (*kernel)(Parameters...), size_t bytes) {
  HEBB_RETURN_IF_ERROR(cuda.select());
  const cudaError_t error =
      cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(bytes));
  return error == cudaSuccess ? Status{} : cuda.report(error, std::string("get the shared memory of ") + operation);
}

/// Whether an operation before this one failed for its data: what was queued after it must change nothing.
__device__ __forceinline__ bool failed(const Failure* failure) { return failure->problem != Problem::none; }

/// What many warps read, none writes during the kernel: kept in L1.
template <class T>
__device__ __forceinline__ T loadReused(const T* address) {
  return __ldg(address);
}

/// What is read once: the first to leave the caches.
template <class T>
__device__ __forceinline__ T loadOnce(const T* address) {
  return __ldcs(address);
}

// Four columns of the batch in one 16-byte access. `address` must be 16-byte aligned.
__device__ __forceinline__ float4 load4(const float* address) { return *reinterpret_cast<const float4*>(address); }
__device__ __forceinline__ float4 loadReused4(const float* address) {
  return loadReused(reinterpret_cast<const float4*>(address));
}
/// What another block of the same launch wrote, who has told so since: past L1, which knows nothing of it.
__device__ __forceinline__ float4 loadFresh4(const float* address) {
  return __ldcg(reinterpret_cast<const float4*>(address));
}
__device__ __forceinline__ void store4(float* address, float4 v) { *reinterpret_cast<float4*>(address) = v; }

/// f on each of four columns.
template <class F, class... V>
__device__ __forceinline__ float4 each4(F f, V... v) {
  return make_float4(f(v.x...), f(v.y...), f(v.z...), f(v.w...));
}

/// a * b + c, rounded once. The build never fuses by itself (-fmad=false).
__device__ __forceinline__ float4 mulAdd4(float a, float4 b, float4 c) {
  return make_float4(fmaf(a, b.x, c.x), fmaf(a, b.y, c.y), fmaf(a, b.z, c.z), fmaf(a, b.w, c.w));
}

/// The four numbers of the lane whose number differs in the bits of `mask`. Called by the whole warp.
__device__ __forceinline__ float4 exchange4(float4 v, int mask) {
  return each4([mask](float x) { return __shfl_xor_sync(kWholeWarp, x, mask); }, v);
}

/// Columns of panel p to compute: the valid ones, up to the next multiple of 16. `axis` is Activations::axis.
__device__ __forceinline__ int32_t liveColumns(const Axis* axis, int32_t capacity, int32_t panel, int32_t p) {
  const int32_t live = (axis ? axis->columns : capacity) - p * panel;
  return live <= 0 ? 0 : live >= panel ? panel : (live + 15) / 16 * 16;
}

}  // namespace hebb::cuda
