// The part of the CUDA runtime that hebb's host code uses, on devices that exist in the program's memory only. Names,
// numbers of errors and meanings are CUDA's; what the emulation adds is in machine.h. Streams are lazy: what is queued
// runs when somebody waits for it, or when the queue is long, so that host code which does not wait, or lets go of
// memory too early, is found out.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <tuple>
#include <type_traits>
#include <utility>

#define CUDART_VERSION 13000

// ---- vectors

struct dim3;
// Aligned as on the GPU: a vector is read and written in one access.
#define HEBB_VECTORS(Scalar, name)                                                                  \
  struct name##1 { Scalar x; };                                                                     \
  struct alignas(2 * sizeof(Scalar)) name##2 { Scalar x, y; };                                      \
  struct name##3 { Scalar x, y, z; };                                                               \
  struct alignas(4 * sizeof(Scalar) > 16 ? 16 : 4 * sizeof(Scalar)) name##4 { Scalar x, y, z, w; }; \
  inline name##1 make_##name##1(Scalar x) { return {x}; }                                           \
  inline name##2 make_##name##2(Scalar x, Scalar y) { return {x, y}; }                              \
  inline name##3 make_##name##3(Scalar x, Scalar y, Scalar z) { return {x, y, z}; }                 \
  inline name##4 make_##name##4(Scalar x, Scalar y, Scalar z, Scalar w) { return {x, y, z, w}; }
HEBB_VECTORS(signed char, char)
HEBB_VECTORS(unsigned char, uchar)
HEBB_VECTORS(short, short)
HEBB_VECTORS(unsigned short, ushort)
HEBB_VECTORS(int, int)
HEBB_VECTORS(unsigned, uint)
HEBB_VECTORS(long long, longlong)
HEBB_VECTORS(unsigned long long, ulonglong)
HEBB_VECTORS(float, float)
HEBB_VECTORS(double, double)
#undef HEBB_VECTORS

struct dim3 {
  unsigned x = 1, y = 1, z = 1;
  constexpr dim3(unsigned x = 1, unsigned y = 1, unsigned z = 1) : x(x), y(y), z(z) {}
  constexpr dim3(uint3 v) : x(v.x), y(v.y), z(v.z) {}
};

// ---- errors

// X(name, number, what cudaGetErrorString says)
#define HEBB_CUDA_ERRORS(X)                                                                                        \
  X(cudaSuccess, 0, "no error")                                                                                    \
  X(cudaErrorInvalidValue, 1, "invalid argument")                                                                  \
  X(cudaErrorMemoryAllocation, 2, "out of memory")                                                                 \
  X(cudaErrorInitializationError, 3, "initialization error")                                                       \
  X(cudaErrorInvalidConfiguration, 9, "invalid configuration argument")                                            \
  X(cudaErrorInvalidMemcpyDirection, 21, "invalid copy direction for memcpy")                                      \
  X(cudaErrorStubLibrary, 34, "CUDA driver is a stub library")                                                     \
  X(cudaErrorInsufficientDriver, 35, "CUDA driver version is insufficient for CUDA runtime version")               \
  X(cudaErrorDevicesUnavailable, 46, "CUDA-capable device(s) is/are busy or unavailable")                          \
  X(cudaErrorInvalidDeviceFunction, 98, "invalid device function")                                                 \
  X(cudaErrorNoDevice, 100, "no CUDA-capable device is detected")                                                  \
  X(cudaErrorInvalidDevice, 101, "invalid device ordinal")                                                         \
  X(cudaErrorDeviceNotLicensed, 102, "device doesn't have valid Grid license")                                     \
  X(cudaErrorNoKernelImageForDevice, 209, "no kernel image is available for execution on the device")              \
  X(cudaErrorECCUncorrectable, 214, "uncorrectable ECC error encountered")                                         \
  X(cudaErrorUnsupportedPtxVersion, 222, "the provided PTX was compiled with an unsupported toolchain")            \
  X(cudaErrorInvalidResourceHandle, 400, "invalid resource handle")                                                \
  X(cudaErrorIllegalState, 401, "the operation cannot be performed in the present state")                          \
  X(cudaErrorNotReady, 600, "device not ready")                                                                    \
  X(cudaErrorIllegalAddress, 700, "an illegal memory access was encountered")                                      \
  X(cudaErrorLaunchOutOfResources, 701, "too many resources requested for launch")                                 \
  X(cudaErrorLaunchTimeout, 702, "the launch timed out and was terminated")                                        \
  X(cudaErrorAssert, 710, "device-side assert triggered")                                                          \
  X(cudaErrorHardwareStackError, 714, "hardware stack error")                                                      \
  X(cudaErrorIllegalInstruction, 715, "an illegal instruction was encountered")                                    \
  X(cudaErrorMisalignedAddress, 716, "misaligned address")                                                         \
  X(cudaErrorInvalidAddressSpace, 717, "operation not supported on global/shared address space")                   \
  X(cudaErrorInvalidPc, 718, "invalid program counter")                                                            \
  X(cudaErrorLaunchFailure, 719, "unspecified launch failure")                                                     \
  X(cudaErrorNotPermitted, 800, "operation not permitted")                                                         \
  X(cudaErrorNotSupported, 801, "operation not supported")                                                         \
  X(cudaErrorSystemNotReady, 802, "system not yet initialized")                                                    \
  X(cudaErrorSystemDriverMismatch, 803, "system has unsupported display driver / cuda driver combination")         \
  X(cudaErrorCompatNotSupportedOnDevice, 804, "forward compatibility was attempted on non supported HW")           \
  X(cudaErrorMpsConnectionFailed, 805, "MPS client failed to connect to the MPS control daemon or the MPS server") \
  X(cudaErrorMpsServerNotReady, 807, "MPS server is not ready to accept new MPS client requests")                  \
  X(cudaErrorStreamCaptureUnsupported, 900, "operation not permitted when stream is capturing")                    \
  X(cudaErrorStreamCaptureInvalidated, 901, "operation failed due to a previous error during capture")             \
  X(cudaErrorUnknown, 999, "unknown error")

enum cudaError_t : int {
#define HEBB_ENUMERATOR(name, number, words) name = number,
  HEBB_CUDA_ERRORS(HEBB_ENUMERATOR)
#undef HEBB_ENUMERATOR
};

const char* cudaGetErrorName(cudaError_t error);
/// Where the error is the work of a kernel, the text goes on with the kernel, block and thread.
const char* cudaGetErrorString(cudaError_t error);
cudaError_t cudaGetLastError();
cudaError_t cudaPeekAtLastError();

// ---- devices

typedef struct CUstream_st* cudaStream_t;
typedef struct CUevent_st* cudaEvent_t;
typedef struct CUmemPoolHandle_st* cudaMemPool_t;
typedef struct CUgraph_st* cudaGraph_t;
typedef struct CUgraphExec_st* cudaGraphExec_t;

struct cudaDeviceProp {
  char name[256];
  int major, minor;
  int multiProcessorCount;
  int warpSize;
  int maxThreadsPerBlock;
  int l2CacheSize;
  size_t totalGlobalMem;
  size_t sharedMemPerBlock, sharedMemPerBlockOptin, sharedMemPerMultiprocessor;
};

enum cudaDeviceAttr {
  cudaDevAttrMaxThreadsPerBlock = 1,
  cudaDevAttrMaxSharedMemoryPerBlock = 8,
  cudaDevAttrMultiProcessorCount = 16,
  cudaDevAttrL2CacheSize = 38,
  cudaDevAttrComputeCapabilityMajor = 75,
  cudaDevAttrComputeCapabilityMinor = 76,
  cudaDevAttrMaxSharedMemoryPerBlockOptin = 97,
};

cudaError_t cudaDriverGetVersion(int* version);
cudaError_t cudaRuntimeGetVersion(int* version);
cudaError_t cudaGetDeviceCount(int* count);
cudaError_t cudaSetDevice(int device);
cudaError_t cudaGetDevice(int* device);
cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int device);
cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr attribute, int device);
cudaError_t cudaDeviceSynchronize();
cudaError_t cudaMemGetInfo(size_t* free, size_t* total);

// ---- streams and events

enum : unsigned { cudaStreamDefault = 0, cudaStreamNonBlocking = 1 };
enum : unsigned { cudaEventDefault = 0, cudaEventBlockingSync = 1, cudaEventDisableTiming = 2 };

cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned flags);
cudaError_t cudaStreamDestroy(cudaStream_t stream);
cudaError_t cudaStreamSynchronize(cudaStream_t stream);
cudaError_t cudaStreamQuery(cudaStream_t stream);
cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned flags = 0);
cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned flags);
inline cudaError_t cudaEventCreate(cudaEvent_t* event) { return cudaEventCreateWithFlags(event, cudaEventDefault); }
cudaError_t cudaEventDestroy(cudaEvent_t event);
cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream = nullptr);
cudaError_t cudaEventSynchronize(cudaEvent_t event);
cudaError_t cudaEventQuery(cudaEvent_t event);
cudaError_t cudaEventElapsedTime(float* milliseconds, cudaEvent_t start, cudaEvent_t end);

// ---- memory

enum cudaMemcpyKind {
  cudaMemcpyHostToHost,
  cudaMemcpyHostToDevice,
  cudaMemcpyDeviceToHost,
  cudaMemcpyDeviceToDevice,
  cudaMemcpyDefault
};
enum cudaMemAllocationType { cudaMemAllocationTypeInvalid, cudaMemAllocationTypePinned };
enum cudaMemLocationType { cudaMemLocationTypeInvalid, cudaMemLocationTypeDevice };
enum cudaMemAllocationHandleType { cudaMemHandleTypeNone };
struct cudaMemLocation {
  cudaMemLocationType type;
  int id;
};
struct cudaMemPoolProps {
  cudaMemAllocationType allocType;
  cudaMemAllocationHandleType handleTypes;
  cudaMemLocation location;
  size_t maxSize;
};
enum cudaMemPoolAttr {
  cudaMemPoolAttrReleaseThreshold = 4,
  cudaMemPoolAttrReservedMemCurrent = 5,
  cudaMemPoolAttrUsedMemCurrent = 7,
};

cudaError_t cudaMemPoolCreate(cudaMemPool_t* pool, const cudaMemPoolProps* properties);
cudaError_t cudaMemPoolDestroy(cudaMemPool_t pool);
cudaError_t cudaMemPoolSetAttribute(cudaMemPool_t pool, cudaMemPoolAttr attribute, void* value);
cudaError_t cudaMemPoolGetAttribute(cudaMemPool_t pool, cudaMemPoolAttr attribute, void* value);
/// Gives back what the pool holds beyond `bytes` and does not use.
cudaError_t cudaMemPoolTrimTo(cudaMemPool_t pool, size_t bytes);
cudaError_t cudaMallocFromPoolAsync(void** memory, size_t bytes, cudaMemPool_t pool, cudaStream_t stream);
cudaError_t cudaFreeAsync(void* memory, cudaStream_t stream);
cudaError_t cudaMalloc(void** memory, size_t bytes);
cudaError_t cudaFree(void* memory);
cudaError_t cudaMallocHost(void** memory, size_t bytes);
cudaError_t cudaFreeHost(void* memory);
cudaError_t cudaMemcpyAsync(void* to, const void* from, size_t bytes, cudaMemcpyKind kind,
                            cudaStream_t stream = nullptr);
cudaError_t cudaMemcpy(void* to, const void* from, size_t bytes, cudaMemcpyKind kind);
cudaError_t cudaMemsetAsync(void* memory, int value, size_t bytes, cudaStream_t stream = nullptr);
cudaError_t cudaMemset(void* memory, int value, size_t bytes);

// ---- graphs

enum cudaStreamCaptureMode {
  cudaStreamCaptureModeGlobal,
  cudaStreamCaptureModeThreadLocal,
  cudaStreamCaptureModeRelaxed
};
enum cudaStreamCaptureStatus {
  cudaStreamCaptureStatusNone,
  cudaStreamCaptureStatusActive,
  cudaStreamCaptureStatusInvalidated
};

cudaError_t cudaStreamBeginCapture(cudaStream_t stream, cudaStreamCaptureMode mode);
cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t* graph);
cudaError_t cudaStreamIsCapturing(cudaStream_t stream, cudaStreamCaptureStatus* status);
cudaError_t cudaGraphInstantiate(cudaGraphExec_t* executable, cudaGraph_t graph, unsigned long long flags = 0);
cudaError_t cudaGraphUpload(cudaGraphExec_t executable, cudaStream_t stream);
cudaError_t cudaGraphLaunch(cudaGraphExec_t executable, cudaStream_t stream);
cudaError_t cudaGraphExecDestroy(cudaGraphExec_t executable);
cudaError_t cudaGraphDestroy(cudaGraph_t graph);
struct CUgraphNode_st;
typedef CUgraphNode_st* cudaGraphNode_t;
/// With null for `nodes`, only their number.
cudaError_t cudaGraphGetNodes(cudaGraph_t graph, cudaGraphNode_t* nodes, size_t* count);

// ---- launches

struct cudaLaunchAttribute {
  int id;
};
struct cudaLaunchConfig_t {
  dim3 gridDim, blockDim;
  size_t dynamicSmemBytes;
  cudaStream_t stream;
  cudaLaunchAttribute* attrs;
  unsigned numAttrs;
  const char* operation;  // not CUDA's: the name in reports
};

enum cudaFuncAttribute {
  cudaFuncAttributeMaxDynamicSharedMemorySize = 8,
  cudaFuncAttributePreferredSharedMemoryCarveout = 9
};

namespace hebb::emulation {
cudaError_t launch(const cudaLaunchConfig_t& config, const void* kernel, std::function<void()> thread);
cudaError_t setAttribute(const void* kernel, cudaFuncAttribute attribute, int value);
}  // namespace hebb::emulation

template <class... Parameters, class... Arguments>
cudaError_t cudaLaunchKernelEx(const cudaLaunchConfig_t* config, void (*kernel)(Parameters...),
                               Arguments&&... arguments) {
  // The arguments are copied now, as CUDA does.
  std::tuple<std::decay_t<Parameters>...> values(std::forward<Arguments>(arguments)...);
  static_assert((std::is_trivially_copyable_v<std::decay_t<Parameters>> && ...),
                "a kernel's parameters are copied as bytes");
  return hebb::emulation::launch(*config, reinterpret_cast<const void*>(kernel),
                                 [kernel, values] { std::apply(kernel, values); });
}

template <class... Parameters>
cudaError_t cudaFuncSetAttribute(void (*kernel)(Parameters...), cudaFuncAttribute attribute, int value) {
  return hebb::emulation::setAttribute(reinterpret_cast<const void*>(kernel), attribute, value);
}
