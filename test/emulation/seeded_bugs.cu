// Bugs on purpose, each with a clean twin: a check that does not find them is no check. CMakeLists.txt says which build
// must find which, and by what words. One bug a process:
//   seeded_bugs NAME         runs it; prints "right", "wrong result" or the error
//   seeded_bugs NAME clean   the twin, which must print "right"
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "launch.cuh"

namespace hebb::cuda {
namespace {

constexpr int kThreads = 96;  // three warps

/// Each thread hands its number to the one opposite.
template <bool Bug>
__global__ void missingBarrier(int* out) {
  HEBB_SHARED(int, box, [kThreads]);
  const int i = static_cast<int>(threadIdx.x);
  box[i] = i;
  if (!Bug) __syncthreads();
  out[blockIdx.x * kThreads + threadIdx.x] = box[kThreads - 1 - i];
}

template <bool Bug>
__global__ void sharedOverrun(int* out) {
  HEBB_SHARED(int, box, [kThreads]);
  const int i = static_cast<int>(threadIdx.x);
  box[i + (Bug ? 1 : 0)] = i;
  __syncthreads();
  out[blockIdx.x * kThreads + threadIdx.x] = box[kThreads - 1 - i];
}

template <bool Bug>
__global__ void globalOverread(const int* in, int* out) {
  const int i = static_cast<int>(threadIdx.x);
  out[blockIdx.x * kThreads + threadIdx.x] = in[kThreads - 1 - i + (Bug ? 1 : 0)] - (Bug ? 1 : 0);
}

template <bool Bug>
__global__ void globalOverrun(int* out) {
  out[blockIdx.x * kThreads + threadIdx.x] = kThreads - 1 - static_cast<int>(threadIdx.x);
  if (Bug && blockIdx.x == gridDim.x - 1 && threadIdx.x == kThreads - 1) out[gridDim.x * kThreads] = 0;
}

template <bool Bug>
__global__ void plainIncrement(int* out) {
  HEBB_SHARED(int, count, [1]);
  const int i = static_cast<int>(threadIdx.x);
  if (i == 0) count[0] = 0;
  __syncthreads();
  if (Bug) {
    ++count[0];
  } else {
    atomicAdd(&count[0], 1);
  }
  __syncthreads();
  out[blockIdx.x * kThreads + threadIdx.x] = count[0] - 1 - i;
}

/// A block reads what the one before it has written.
template <bool Bug>
__global__ void crossBlock(int* out) {
  const unsigned at = blockIdx.x * kThreads + threadIdx.x;
  const int last = kThreads - 1 - static_cast<int>(threadIdx.x);
  out[at] = Bug && blockIdx.x > 0 ? out[at - kThreads] : last;
}

template <bool Bug>
__global__ void divergentBarrier(int* out) {
  HEBB_SHARED(int, box, [kThreads]);
  const int i = static_cast<int>(threadIdx.x);
  box[i] = i;
  if (!Bug || i < 32) __syncthreads();
  out[blockIdx.x * kThreads + threadIdx.x] = box[kThreads - 1 - i];
}

template <bool Bug>
__global__ void twoBarriers(int* out) {
  HEBB_SHARED(int, box, [kThreads]);
  const int i = static_cast<int>(threadIdx.x);
  box[i] = i;
  if (Bug && i % 2) {
    __syncthreads();
  } else {
    __syncthreads();
    if (!Bug) box[i] += 0;
  }
  out[blockIdx.x * kThreads + threadIdx.x] = kThreads - 1 - i;
}

template <bool Bug>
__global__ void misalignedVector(const float* in, int* out) {
  const int i = static_cast<int>(threadIdx.x);
  const float4 v = load4(in + i / 4 * 4 + (Bug ? 1 : 0));
  const float mine[] = {v.x, v.y, v.z, v.w};
  out[blockIdx.x * kThreads + threadIdx.x] = static_cast<int>(mine[i % 4]);
}

template <bool Bug>
__global__ void unwrittenShared(int* out) {
  HEBB_SHARED(float, box, [kThreads]);
  const int i = static_cast<int>(threadIdx.x);
  if (!Bug || i > 0) box[i] = 0.f;
  __syncthreads();
  float sum = 0.f;
  for (int k = 0; k < kThreads; ++k) sum += box[k];
  out[blockIdx.x * kThreads + threadIdx.x] = sum == 0.f ? kThreads - 1 - i : -1;
}

template <bool Bug>
__global__ void exitedLane(int* out) {
  const int i = static_cast<int>(threadIdx.x);
  out[blockIdx.x * kThreads + threadIdx.x] = kThreads - 1 - i;
  if (Bug && i % 32 == 31) return;
  const int other = __shfl_sync(kWholeWarp, i, 31);
  if (other % 32 != 31) out[0] = -1;
}

template <bool Bug>
__global__ void strangerLane(int* out) {
  const int i = static_cast<int>(threadIdx.x);
  out[blockIdx.x * kThreads + threadIdx.x] = kThreads - 1 - i;
  if (i % 32 < 16) {
    const int other = __shfl_sync(0x0000ffffu, i, Bug ? 16 : 15);
    if (other % 32 != 15) out[0] = -1;
  }
}

template <bool Bug>
__global__ void missingWarpBarrier(int* out) {
  HEBB_SHARED(int, box, [kThreads]);
  const int i = static_cast<int>(threadIdx.x);
  box[i] = i;
  if (!Bug) __syncwarp();
  const int opposite = i / 32 * 32 + 31 - i % 32;
  out[blockIdx.x * kThreads + threadIdx.x] = kThreads - 1 - i + (box[opposite] - opposite);
}

/// Two groups of copies under way; the first is used while the second may still be.
template <bool Bug>
__global__ void copyGroupShort(const int* in, int* out) {
  HEBB_SHARED(int, box, [2 * kThreads]);
  const int i = static_cast<int>(threadIdx.x);
  emulation::copyAsync(&box[i], in + i, 4);
  emulation::commitCopies();
  emulation::copyAsync(&box[kThreads + i], in + i, 4);
  emulation::commitCopies();
  emulation::waitForCopies(Bug ? 2 : 1);
  __syncthreads();
  const int mine = box[kThreads - 1 - i];
  emulation::waitForCopies(0);
  out[blockIdx.x * kThreads + threadIdx.x] = mine;
}

/// Half a warp at a tensor core.
template <bool Bug>
__global__ void fewLanes(int* out) {
  const int i = static_cast<int>(threadIdx.x);
  float4 sums = make_float4(0.f, 0.f, 0.f, 0.f);
  multiplyTf32(sums, make_uint4(0, 0, 0, 0), make_uint2(0, 0));
  for (int k = i; k < kThreads; k += static_cast<int>(blockDim.x))
    out[blockIdx.x * kThreads + static_cast<unsigned>(k)] = kThreads - 1 - k + static_cast<int>(sums.x);
}

/// Every block leaves a number; the last to come adds them up.
template <bool Bug>
__global__ void missingFence(int* parts, unsigned* count, int* out) {
  HEBB_SHARED(bool, last, [1]);
  const int i = static_cast<int>(threadIdx.x);
  if (i == 0) {
    parts[blockIdx.x] = 1;
    if (!Bug) __threadfence();
    last[0] = atomicAdd(count, 1u) == gridDim.x - 1;
    if (last[0]) __threadfence();
  }
  __syncthreads();
  out[blockIdx.x * kThreads + threadIdx.x] = kThreads - 1 - i;
  if (last[0] && i == 0) {
    int sum = 0;
    for (unsigned b = 0; b < gridDim.x; ++b) sum += parts[b];
    if (sum != static_cast<int>(gridDim.x)) out[0] = -1;
  }
}

template <bool Bug>
__global__ void largeShared(int* out) {
  HEBB_SHARED_DYNAMIC(int, box);
  const int i = static_cast<int>(threadIdx.x);
  box[i] = i;
  __syncthreads();
  out[blockIdx.x * kThreads + threadIdx.x] = box[kThreads - 1 - i];
}

__global__ void opposite(int* out) {
  out[blockIdx.x * kThreads + threadIdx.x] = kThreads - 1 - static_cast<int>(threadIdx.x);
}

constexpr int kBlocks = 5;
constexpr size_t kOut = sizeof(int) * kBlocks * kThreads;

/// The device, a place for the result, and the numbers that kernels read.
struct Bench {
  std::unique_ptr<Backend> backend;
  int* out = nullptr;
  int* integers = nullptr;  // [kThreads]: kThreads - 1, ..., 0 reversed, so that in[k] = k
  float* floats = nullptr;  // [kThreads]
  unsigned* zero = nullptr;
  int* parts = nullptr;
  std::vector<int> result = std::vector<int>(kBlocks * kThreads, -2);

  Cuda& cuda() { return cudaOf(*backend); }
  Status set() {
    DeviceInfo info;
    HEBB_RETURN_IF_ERROR(openCuda(0, &backend, &info));
    HEBB_RETURN_IF_ERROR(backend->allocate(kOut, reinterpret_cast<void**>(&out)));
    HEBB_RETURN_IF_ERROR(backend->allocate(sizeof(int) * kThreads, reinterpret_cast<void**>(&integers)));
    HEBB_RETURN_IF_ERROR(backend->allocate(sizeof(float) * kThreads, reinterpret_cast<void**>(&floats)));
    HEBB_RETURN_IF_ERROR(backend->allocate(sizeof(unsigned), reinterpret_cast<void**>(&zero)));
    HEBB_RETURN_IF_ERROR(backend->allocate(sizeof(int) * kBlocks, reinterpret_cast<void**>(&parts)));
    std::vector<int> numbers(kThreads);
    std::vector<float> opposites(kThreads);
    for (int i = 0; i < kThreads; ++i)
      numbers[static_cast<size_t>(i)] = i, opposites[static_cast<size_t>(i)] = static_cast<float>(kThreads - 1 - i);
    HEBB_RETURN_IF_ERROR(backend->write(integers, numbers.data(), sizeof(int) * kThreads));
    return backend->write(floats, opposites.data(), sizeof(float) * kThreads);
  }
  Status end() { return backend->read(result.data(), out, kOut); }
  void free() {
    for (auto [memory, bytes] : {std::pair<void*, size_t>{out, kOut},
                                 {integers, sizeof(int) * kThreads},
                                 {floats, sizeof(float) * kThreads},
                                 {zero, sizeof(unsigned)},
                                 {parts, sizeof(int) * kBlocks}}) {
      backend->release(memory, bytes);
    }
    backend.reset();
  }
  template <class... Parameters, class... Arguments>
  Status run(void (*kernel)(Parameters...), Arguments... arguments) {
    HEBB_RETURN_IF_ERROR(launch(cuda(), "a seeded bug", kernel, kBlocks, dim3(kThreads), 0, arguments...));
    return end();
  }
};

using Run = std::function<Status(Bench&, bool bug)>;
#define KERNEL(name, ...) \
  {#name, [](Bench& b, bool bug) { return bug ? b.run(name<true>, __VA_ARGS__) : b.run(name<false>, __VA_ARGS__); }}

const std::map<std::string, Run> bugs = {
    KERNEL(missingBarrier, b.out),
    KERNEL(sharedOverrun, b.out),
    KERNEL(globalOverread, b.integers, b.out),
    {"globalOverrun",
     [](Bench& b, bool bug) {
       HEBB_RETURN_IF_ERROR(bug ? b.run(globalOverrun<true>, b.out) : b.run(globalOverrun<false>, b.out));
       b.backend->release(b.out, kOut);  // where a plain build looks
       b.out = nullptr;
       return b.backend->synchronize();
     }},
    KERNEL(plainIncrement, b.out),
    KERNEL(crossBlock, b.out),
    KERNEL(divergentBarrier, b.out),
    KERNEL(twoBarriers, b.out),
    KERNEL(misalignedVector, b.floats, b.out),
    KERNEL(unwrittenShared, b.out),
    KERNEL(exitedLane, b.out),
    KERNEL(strangerLane, b.out),
    KERNEL(missingWarpBarrier, b.out),
    KERNEL(copyGroupShort, b.integers, b.out),
    {"fewLanes",
     [](Bench& b, bool bug) {
       HEBB_RETURN_IF_ERROR(launch(b.cuda(), "fewLanes", bug ? fewLanes<true> : fewLanes<false>, kBlocks,
                                   dim3(bug ? 16 : 32), 0, b.out));
       return b.end();
     }},
    KERNEL(missingFence, b.parts, b.zero, b.out),
    {"largeShared",
     [](Bench& b, bool bug) {
       constexpr size_t kBytes = 64 << 10;
       if (!bug)
         HEBB_RETURN_IF_ERROR(statusOf(
             cudaFuncSetAttribute(largeShared<false>, cudaFuncAttributeMaxDynamicSharedMemorySize, kBytes), "opt in"));
       HEBB_RETURN_IF_ERROR(launch(b.cuda(), "largeShared", bug ? largeShared<true> : largeShared<false>, kBlocks,
                                   dim3(kThreads), kBytes, b.out));
       return b.end();
     }},
    // The host's.
    {"freedTooEarly",
     [](Bench& b, bool bug) {
       if (bug) b.backend->release(b.integers, sizeof(int) * kThreads);
       HEBB_RETURN_IF_ERROR(
           launch(b.cuda(), "freedTooEarly", globalOverread<false>, kBlocks, dim3(kThreads), 0, b.integers, b.out));
       if (bug) b.integers = nullptr;
       return b.end();
     }},
    {"copiedAfterFree",
     [](Bench& b, bool bug) {
       int* lent = nullptr;
       HEBB_RETURN_IF_ERROR(b.backend->allocate(kOut, reinterpret_cast<void**>(&lent)));
       HEBB_RETURN_IF_ERROR(launch(b.cuda(), "copiedAfterFree", opposite, kBlocks, dim3(kThreads), 0, lent));
       if (bug) b.backend->release(lent, kOut);
       const Status status = b.backend->read(b.result.data(), lent, kOut);
       if (!bug) b.backend->release(lent, kOut);
       return status;
     }},
    {"freedTwice",
     [](Bench& b, bool bug) {
       void* lent = nullptr;
       HEBB_RETURN_IF_ERROR(statusOf(cudaMalloc(&lent, 16), "allocate"));
       HEBB_RETURN_IF_ERROR(statusOf(cudaFreeAsync(lent, b.cuda().stream()), "free"));
       if (bug) HEBB_RETURN_IF_ERROR(statusOf(cudaFreeAsync(lent, b.cuda().stream()), "free"));
       return b.run(opposite, b.out);
     }},
    {"copiedBeyondEnd",
     [](Bench& b, bool bug) {
       HEBB_RETURN_IF_ERROR(launch(b.cuda(), "copiedBeyondEnd", opposite, kBlocks, dim3(kThreads), 0, b.out));
       std::vector<int> host(kBlocks * kThreads + 1);
       HEBB_RETURN_IF_ERROR(b.backend->read(host.data(), b.out, kOut + (bug ? sizeof(int) : 0)));
       return b.end();
     }},
    {"sourceGone",  // the host frees what a queued copy has yet to read
     [](Bench& b, bool bug) {
       std::vector<int> expected;
       for (int i = 0; i < kBlocks * kThreads; ++i) expected.push_back(kThreads - 1 - i % kThreads);
       auto* source = static_cast<int*>(std::malloc(kOut));
       std::memcpy(source, expected.data(), kOut);
       HEBB_RETURN_IF_ERROR(
           statusOf(cudaMemcpyAsync(b.out, source, kOut, cudaMemcpyHostToDevice, b.cuda().stream()), "write"));
       if (bug) std::free(source);
       const Status status = b.end();
       if (!bug) std::free(source);
       return status;
     }},
    {"readTooEarly",
     [](Bench& b, bool bug) {
       HEBB_RETURN_IF_ERROR(launch(b.cuda(), "readTooEarly", opposite, kBlocks, dim3(kThreads), 0, b.out));
       HEBB_RETURN_IF_ERROR(
           statusOf(cudaMemcpyAsync(b.result.data(), b.out, kOut, cudaMemcpyDeviceToHost, b.cuda().stream()), "read"));
       return bug ? Status{} : b.backend->synchronize();
     }},
    {"otherStream",  // nothing orders the two streams
     [](Bench& b, bool bug) {
       cudaStream_t other;
       cudaEvent_t done;
       HEBB_RETURN_IF_ERROR(statusOf(cudaStreamCreateWithFlags(&other, cudaStreamNonBlocking), "create a stream"));
       HEBB_RETURN_IF_ERROR(statusOf(cudaEventCreateWithFlags(&done, cudaEventDisableTiming), "create an event"));
       HEBB_RETURN_IF_ERROR(launch(b.cuda(), "otherStream", opposite, kBlocks, dim3(kThreads), 0, b.out));
       HEBB_RETURN_IF_ERROR(statusOf(cudaEventRecord(done, b.cuda().stream()), "record an event"));
       if (!bug) HEBB_RETURN_IF_ERROR(statusOf(cudaStreamWaitEvent(other, done), "wait"));
       HEBB_RETURN_IF_ERROR(
           statusOf(cudaMemcpyAsync(b.result.data(), b.out, kOut, cudaMemcpyDeviceToHost, other), "read"));
       HEBB_RETURN_IF_ERROR(statusOf(cudaStreamSynchronize(other), "wait"));
       HEBB_RETURN_IF_ERROR(statusOf(cudaEventDestroy(done), "destroy"));
       HEBB_RETURN_IF_ERROR(statusOf(cudaStreamDestroy(other), "destroy"));
       return b.backend->synchronize();
     }},
};

int run(const char* name, bool bug) {
  const auto found = bugs.find(name);
  if (found == bugs.end()) {
    std::fprintf(stderr, "Expected the name of a bug, got %s\n", name);
    return 2;
  }
  Bench bench;
  Status status = bench.set();
  if (status.ok()) status = found->second(bench, bug);
  if (!status.ok()) {
    bench.backend.release();  // the device is of no use any more
    std::printf("error: %s\n", status.message().c_str());
    return 3;
  }
  const std::vector<int> result = bench.result;  // as the host sees it now
  bench.free();
  for (int i = 0; i < kBlocks * kThreads; ++i) {
    if (result[static_cast<size_t>(i)] == kThreads - 1 - i % kThreads) continue;
    std::printf("wrong result: element %d is %d\n", i, result[static_cast<size_t>(i)]);
    return 4;
  }
  std::printf("right\n");
  return 0;
}

}  // namespace
}  // namespace hebb::cuda

int main(int count, char** arguments) {
  if (count != 2) {
    std::fprintf(stderr, "Expected: seeded_bugs NAME, or seeded_bugs clean\n");
    return 2;
  }
  if (std::strcmp(arguments[1], "clean")) return hebb::cuda::run(arguments[1], true);
  for (const auto& [name, bug] : hebb::cuda::bugs) {
    for (const char* order : {"forward", "reversed", "random:1", "random:2"}) {
      setenv("HEBB_EMULATION_ORDER", order, 1);
      std::printf("%s, %s: ", name.c_str(), order);
      std::fflush(stdout);
      if (const int status = hebb::cuda::run(name.c_str(), false)) return status;
    }
  }
  return 0;
}
