// Passes over device memory in 16-byte accesses, as the library's kernels make them: reads from L1, reads past L1,
// copies. A block takes chunks of 16 KiB, in every pass the same ones, and a thread has four loads in flight. What is
// read is summed, so that nothing is left out; the sum is stored only if it is infinite, and it is not.
#include "bandwidth.h"

#include "launch.cuh"

namespace hebb::bench {
namespace {

using namespace hebb::cuda;

constexpr int kThreads = 256, kLoads = 4;
constexpr int kBlocksOfMultiprocessor = 8;
constexpr int32_t kChunk = kThreads * kLoads;  // 16-byte words
static_assert(kChunk * 16 == kChunkBytes);

template <bool Near>
__device__ __forceinline__ float4 load(const float4* address) {
  if constexpr (Near) return loadReused(address);
  else return __ldcg(address);
}

template <bool Near>
__global__ void __launch_bounds__(kThreads, kBlocksOfMultiprocessor)
    readChunks(const float4* from, int64_t chunks, int32_t passes, float* infinite) {
  float4 sum = make_float4(0.f, 0.f, 0.f, 0.f);
  for (int32_t pass = 0; pass < passes; ++pass) {
    for (int64_t chunk = (blockIdx.x + (Near ? pass : 0)) % chunks; chunk < chunks; chunk += gridDim.x) {
      float4 word[kLoads];
#pragma unroll
      for (int i = 0; i < kLoads; ++i) word[i] = load<Near>(from + chunk * kChunk + i * kThreads + threadIdx.x);
#pragma unroll
      for (int i = 0; i < kLoads; ++i) sum = each4([](float a, float b) { return a + b; }, sum, word[i]);
    }
  }
  if (isinf(sum.x + sum.y + sum.z + sum.w)) *infinite = 1.f;
}

__global__ void __launch_bounds__(kThreads, kBlocksOfMultiprocessor)
    copyChunks(const float4* from, float4* to, int64_t chunks, int32_t passes) {
  for (int32_t pass = 0; pass < passes; ++pass) {
    for (int64_t chunk = blockIdx.x; chunk < chunks; chunk += gridDim.x) {
      float4 word[kLoads];
#pragma unroll
      for (int i = 0; i < kLoads; ++i) word[i] = load<false>(from + chunk * kChunk + i * kThreads + threadIdx.x);
#pragma unroll
      for (int i = 0; i < kLoads; ++i) to[chunk * kChunk + i * kThreads + threadIdx.x] = word[i];
    }
  }
}

Status attributeOf(Cuda& cuda, cudaDeviceAttr attribute, int* value) {
  HEBB_RETURN_IF_ERROR(cuda.select());
  int device = 0;
  cudaError_t error = cudaGetDevice(&device);
  if (error == cudaSuccess) error = cudaDeviceGetAttribute(value, attribute, device);
  return error == cudaSuccess ? Status{} : cuda.report(error, "describe the device");
}

}  // namespace

Status secondCacheOf(Backend& backend, int64_t* bytes) {
  int value = 0;
  HEBB_RETURN_IF_ERROR(attributeOf(cudaOf(backend), cudaDevAttrL2CacheSize, &value));
  *bytes = value;
  return {};
}

Status traverse(Backend& backend, Traversal what, const float* from, float* to, int64_t bytes, int32_t passes,
                double* moved) {
  Cuda& cuda = cudaOf(backend);
  int multiprocessors = 0;
  HEBB_RETURN_IF_ERROR(attributeOf(cuda, cudaDevAttrMultiProcessorCount, &multiprocessors));
  int64_t blocks = int64_t{multiprocessors} * kBlocksOfMultiprocessor;
  const int64_t chunks = bytes / kChunkBytes;
  const auto* source = reinterpret_cast<const float4*>(from);
  if (what == Traversal::copy) {
    blocks = blocks < chunks ? blocks : chunks;  // a chunk is written by one block
    *moved = 2. * static_cast<double>(bytes) * passes;
    return launch(cuda, "copyChunks", copyChunks, blocks, dim3(kThreads), 0, source, reinterpret_cast<float4*>(to),
                  chunks, passes);
  }
  // More blocks than chunks: several blocks read the same one.
  *moved = static_cast<double>(kChunkBytes) * static_cast<double>(blocks > chunks ? blocks : chunks) * passes;
  return launch(cuda, "readChunks", what == Traversal::readNear ? readChunks<true> : readChunks<false>, blocks,
                dim3(kThreads), 0, source, chunks, passes, to);
}

}  // namespace hebb::bench
