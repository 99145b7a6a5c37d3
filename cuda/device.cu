// Opens a GPU and moves data to and from it. Activations cross as the host sees them, [columns][features]; a kernel on
// the device transposes them into panels and back, through a tile in shared memory, so that both sides are read and
// written along their rows. Bound by the copy over PCIe.
#include <new>
#include <vector>

#include "cublas.h"
#include "launch.cuh"

namespace hebb {
namespace cuda {

// ---- errors

Status statusOf(cudaError_t error, const std::string& operation) {
  if (error == cudaSuccess) return {};
  cudaGetLastError();  // the error is reported here and by nobody else
  std::string message =
      "CUDA could not " + operation + ": " + cudaGetErrorString(error) + " (" + cudaGetErrorName(error) + ")";
  switch (error) {
    case cudaErrorMemoryAllocation: return {Code::outOfMemory, std::move(message)};
    case cudaErrorNoDevice:
    case cudaErrorInvalidDevice:
    case cudaErrorDevicesUnavailable:
    case cudaErrorDeviceNotLicensed:
    case cudaErrorInsufficientDriver:
    case cudaErrorInitializationError:
    case cudaErrorSystemDriverMismatch:
    case cudaErrorSystemNotReady:
    case cudaErrorCompatNotSupportedOnDevice:
    case cudaErrorStubLibrary:
    case cudaErrorMpsConnectionFailed:
    case cudaErrorMpsServerNotReady:
    case cudaErrorNoKernelImageForDevice:
    case cudaErrorUnsupportedPtxVersion:
    case cudaErrorNotSupported: return {Code::deviceUnavailable, std::move(message)};
    default: return {Code::internal, std::move(message)};
  }
}

bool isFinal(cudaError_t error) {
  switch (error) {
    case cudaErrorECCUncorrectable:
    case cudaErrorIllegalAddress:
    case cudaErrorLaunchTimeout:
    case cudaErrorAssert:
    case cudaErrorHardwareStackError:
    case cudaErrorIllegalInstruction:
    case cudaErrorMisalignedAddress:
    case cudaErrorInvalidAddressSpace:
    case cudaErrorInvalidPc:
    case cudaErrorLaunchFailure:
    case cudaErrorUnknown: return true;
    default: return false;
  }
}

Status statusOf(const Failure& failure) {
  const std::string limit = std::to_string(failure.limit), place = std::to_string(failure.place);
  const std::string number = std::to_string(failure.got), integer = std::to_string(static_cast<int64_t>(failure.got));
  const std::string layer = std::to_string(failure.layer);
  const auto index = [&](const char* operation) {
    return Status{Code::invalidArgument,
                  std::string(operation) + ": Expected indices in [0, " + limit + "), got " + integer + " at " + place};
  };
  const auto sequences = [&](const std::string& expected) {
    return Status{Code::invalidArgument, "gatherSequences: Expected " + expected + ", got " + integer};
  };
  const auto loss = [&](const char* operation) {
    return Status{Code::nonFinite,
                  std::string(operation) + ": Expected a finite loss, got " + number + " in step " + place};
  };
  const auto token = [&](const char* operation) {
    return Status{Code::invalidArgument, std::string(operation) + ": Expected tokens in [0, " + limit + "), got " +
                                             integer + " in column " + place};
  };
  const auto offsets = [&](const char* operation, const char* name) {
    return Status{Code::invalidArgument, std::string(operation) + ": Expected " + name + " that ascend from 0 to the " +
                                             limit + " columns, got " + integer + " at " + place};
  };
  switch (failure.problem) {
    case Problem::none: return {};
    case Problem::gatherIndex: return index("gather");
    case Problem::gatherLabelsIndex: return index("gatherLabels");
    case Problem::gatherWeightsIndex: return index("gatherWeights");
    case Problem::batchOfPlan: return sequences("batches that ascend within [0, " + limit + "]");
    case Problem::batchSequences: return sequences("at most " + limit + " sequences in a batch");
    case Problem::batchTokens: return sequences("at most " + limit + " tokens in a batch");
    case Problem::plannedSequence: return sequences("planned sequences in [0, " + limit + ")");
    case Problem::sequenceStart: return sequences("starts that ascend within [0, " + limit + "]");
    case Problem::gatherColumnsIndex: return index("gatherColumns");
    case Problem::scatterColumnsIndex: return index("scatterColumns");
    case Problem::embeddingToken: return token("embedding");
    case Problem::embeddingGradientToken: return token("embeddingGradient");
    case Problem::attentionQueries: return offsets("attention", "queryOffsets");
    case Problem::attentionKeys: return offsets("attention", "keyOffsets");
    case Problem::attentionGradientQueries: return offsets("attentionGradient", "queryOffsets");
    case Problem::attentionGradientKeys: return offsets("attentionGradient", "keyOffsets");
    case Problem::poolingOffsets: return offsets("pooling", "offsets");
    case Problem::poolingGradientOffsets: return offsets("poolingGradient", "offsets");
    case Problem::target:
      return {Code::invalidArgument,
              "softmaxCrossEntropy: Expected targets in [0, " + limit + "), got " + integer + " in column " + place};
    case Problem::crossEntropyLoss: return loss("softmaxCrossEntropy");
    case Problem::squaredErrorLoss: return loss("meanSquaredError");
    case Problem::gradientNorm:
      return {Code::nonFinite,
              "gradientNorm: Expected a finite norm of the gradients, got " + number + " in step " + place};
    case Problem::score:
      return {Code::nonFinite, "keepLinks: Expected finite weights, got a score of " + number +
                                   " for the link from neuron " + std::to_string(failure.place & 0xffffffff) +
                                   " to neuron " + std::to_string(failure.place >> 32) + " of layer " + layer +
                                   ". Lower the learning rate or look at the data."};
    case Problem::rebuiltLinks:
      return {Code::invalidArgument, "rebuild: Expected at most " + limit + " links, got " + integer};
    case Problem::pooledLinks:
      return {Code::invalidArgument, "chooseFromPool: Expected at most " + limit + " links, got " + integer};
    case Problem::regrownLinks:
      return {Code::invalidArgument,
              "regrow: Expected at most " + limit + " links in layer " + layer + ", got " + integer};
    case Problem::gradientLinks:
      return {Code::invalidArgument,
              "regrowByGradient: Expected at most " + limit + " links in layer " + layer + ", got " + integer};
    case Problem::gradient:
      return {Code::nonFinite,
              "regrowByGradient: Expected finite gradients, got NaN or infinity for the link from neuron " +
                  std::to_string(failure.place & 0xffffffff) + " to neuron " + std::to_string(failure.place >> 32) +
                  " of layer " + layer + ". Lower the learning rate or look at the data."};
    case Problem::history:
      return {Code::invalidArgument,
              "uniteLinks: Expected room for " + integer + " links in the history, got " + place};
  }
  return {Code::internal, "a kernel failed with problem " + std::to_string(static_cast<int32_t>(failure.problem)) +
                              ", which has no description"};
}

namespace {

// ---- what is on this machine

constexpr int kOldestArchitecture = 80;
constexpr int kDriverNeeded = CUDART_VERSION >= 13000 ? 580 : 525;

std::string versionOf(int version) {
  return std::to_string(version / 1000) + "." + std::to_string(version % 1000 / 10);
}

struct Gpu {
  std::string name;
  int architecture = 0;  // 90 is compute capability 9.0
  int multiprocessors = 0;
  int64_t memoryBytes = 0;
  bool usable() const { return architecture >= kOldestArchitecture; }
  std::string capability() const { return std::to_string(architecture / 10) + "." + std::to_string(architecture % 10); }
};

/// The GPUs by CUDA's numbering; when none can be used, what is the matter and what helps.
struct Machine {
  std::vector<Gpu> gpus;
  int driver = 0;  // CUDA version that the driver brings, 0 when there is none
  std::string matter, remedy;
};

Machine lookAround() {
  Machine machine;
  const std::string install = "install a driver >= " + std::to_string(kDriverNeeded);
  // The driver's version comes first: cudaGetDeviceCount gives the same error for no driver and for an old one.
  if (cudaDriverGetVersion(&machine.driver) != cudaSuccess) machine.driver = 0;
  if (machine.driver == 0) {
    machine.matter = "no NVIDIA driver is installed";
    machine.remedy = install + " (in a container: start it with access to the GPU)";
    return machine;
  }
  const std::string driver = "the NVIDIA driver (CUDA " + versionOf(machine.driver) + ")";
  int count = 0;
  const cudaError_t error = cudaGetDeviceCount(&count);
  if (error != cudaSuccess) cudaGetLastError();
  if (error == cudaErrorInsufficientDriver || machine.driver / 1000 < CUDART_VERSION / 1000) {
    machine.matter = driver + " is too old for this build, which needs CUDA " + std::to_string(CUDART_VERSION / 1000);
    machine.remedy = install;
    return machine;
  }
  if (error == cudaErrorNoDevice || (error == cudaSuccess && count == 0)) {
    machine.matter = driver + " sees no GPU";
    machine.remedy = "check that nvidia-smi lists one and that CUDA_VISIBLE_DEVICES does not hide it";
    return machine;
  }
  if (error != cudaSuccess) {
    machine.matter = driver + " does not start: " + cudaGetErrorString(error) + " (" + cudaGetErrorName(error) + ")";
    machine.remedy = "check that nvidia-smi works";
    return machine;
  }
  std::string names;
  bool usable = false;
  for (int i = 0; i < count; ++i) {
    Gpu gpu;
    cudaDeviceProp properties{};
    if (cudaGetDeviceProperties(&properties, i) == cudaSuccess) {
      gpu = {properties.name, properties.major * 10 + properties.minor, properties.multiProcessorCount,
             static_cast<int64_t>(properties.totalGlobalMem)};
    } else {
      cudaGetLastError();
      gpu.name = "GPU " + std::to_string(i) + " that does not answer";
    }
    usable = usable || gpu.usable();
    names += (i ? ", " : "") + gpu.name + (gpu.architecture ? " (compute capability " + gpu.capability() + ")" : "");
    machine.gpus.push_back(std::move(gpu));
  }
  if (!usable) {
    machine.matter = "found " + names + ", and this build needs compute capability " +
                     std::to_string(kOldestArchitecture / 10) + "." + std::to_string(kOldestArchitecture % 10) +
                     " or newer";
    machine.remedy = "use an A100, an RTX 30 or a newer GPU";
  }
  return machine;
}

std::string sentence(std::string words) {
  if (!words.empty() && words[0] >= 'a' && words[0] <= 'z') words[0] = static_cast<char>(words[0] - 'a' + 'A');
  return words;
}

// ---- panels

constexpr int kTile = 32, kTileRows = 8;  // a block transposes a tile of 32 x 32 numbers, eight rows at a time

/// Activations and their transposed copy, rows [columns][features]. Columns from `columns` on are in the panels only.
struct Transposed {
  float* panels;
  float* rows;
  int64_t panelStride;
  int32_t features, panel, padded, columns;  // padded: columns of all panels together
  int32_t featureTiles;

  __device__ __forceinline__ float& inPanels(int32_t column, int32_t feature) const {
    return panels[column / panel * panelStride + static_cast<int64_t>(feature) * panel + column % panel];
  }
  __device__ __forceinline__ float& inRows(int32_t column, int32_t feature) const {
    return rows[static_cast<int64_t>(column) * features + feature];
  }
};

/// Every column of every panel is written: those that the host did not give become zero.
__global__ void __launch_bounds__(kTile* kTileRows) rowsToPanels(Transposed transposed) {
  HEBB_SHARED(float, tile, [kTile][kTile + 1]);  // one more: a column of the tile is spread over all banks
  const int32_t firstFeature = static_cast<int32_t>(blockIdx.x) % transposed.featureTiles * kTile;
  const int32_t firstColumn = static_cast<int32_t>(blockIdx.x) / transposed.featureTiles * kTile;
  const int along = static_cast<int>(threadIdx.x);
  for (int i = static_cast<int>(threadIdx.y); i < kTile; i += kTileRows) {
    const int32_t column = firstColumn + i, feature = firstFeature + along;
    tile[i][along] =
        column < transposed.columns && feature < transposed.features ? transposed.inRows(column, feature) : 0.f;
  }
  __syncthreads();
  for (int i = static_cast<int>(threadIdx.y); i < kTile; i += kTileRows) {
    const int32_t column = firstColumn + along, feature = firstFeature + i;
    if (column < transposed.padded && feature < transposed.features)
      transposed.inPanels(column, feature) = tile[along][i];
  }
}

__global__ void __launch_bounds__(kTile* kTileRows) panelsToRows(Transposed transposed) {
  HEBB_SHARED(float, tile, [kTile][kTile + 1]);
  const int32_t firstFeature = static_cast<int32_t>(blockIdx.x) % transposed.featureTiles * kTile;
  const int32_t firstColumn = static_cast<int32_t>(blockIdx.x) / transposed.featureTiles * kTile;
  const int along = static_cast<int>(threadIdx.x);
  for (int i = static_cast<int>(threadIdx.y); i < kTile; i += kTileRows) {
    const int32_t column = firstColumn + along, feature = firstFeature + i;
    tile[i][along] =
        column < transposed.columns && feature < transposed.features ? transposed.inPanels(column, feature) : 0.f;
  }
  __syncthreads();
  for (int i = static_cast<int>(threadIdx.y); i < kTile; i += kTileRows) {
    const int32_t column = firstColumn + i, feature = firstFeature + along;
    if (column < transposed.columns && feature < transposed.features)
      transposed.inRows(column, feature) = tile[along][i];
  }
}

int32_t tiles(int32_t count) { return (count - 1) / kTile + 1; }

Transposed transposedOf(const Activations& a, float* rows, int32_t columns) {
  return {a.data, rows, a.panelStride(), a.features, a.panel, a.panels() * a.panel, columns, tiles(a.features)};
}

}  // namespace

// ---- the device

Cuda::Cuda(int index, Deterministic deterministic) : index_(index), deterministic_(deterministic) {}

Status Cuda::open(int index, Blas blas, Deterministic deterministic, std::unique_ptr<Backend>* out, DeviceInfo* info) {
  const Machine machine = lookAround();
  if (!machine.matter.empty()) {
    return {Code::deviceUnavailable, "Expected a CUDA device, got none: " + machine.matter + ". " +
                                         sentence(machine.remedy) + ", or use device 'cpu' or 'auto'."};
  }
  const int count = static_cast<int>(machine.gpus.size());
  if (index < 0 || index >= count) {
    return {Code::invalidArgument, "Expected index to be between 0 and " + std::to_string(count - 1) +
                                       ", the CUDA devices of this machine, got " + std::to_string(index)};
  }
  const Gpu& gpu = machine.gpus[static_cast<size_t>(index)];
  if (!gpu.usable()) {
    return {Code::deviceUnavailable, "Expected a GPU of compute capability 8.0 or newer, got " + gpu.name + " (" +
                                         gpu.capability() + ") at index " + std::to_string(index) +
                                         ". Use another index, or device 'cpu' or 'auto'."};
  }
  std::unique_ptr<Cuda> cuda(new (std::nothrow) Cuda(index, deterministic));
  if (!cuda) return {Code::outOfMemory, "the system could not give the memory"};
  HEBB_RETURN_IF_ERROR(cuda->select());
  // Not blocking: independent of what other libraries in the process do on the default stream.
  HEBB_RETURN_IF_ERROR(
      statusOf(cudaStreamCreateWithFlags(&cuda->stream_, cudaStreamNonBlocking), "create a stream on " + gpu.name));
  HEBB_RETURN_IF_ERROR(
      statusOf(cudaStreamCreateWithFlags(&cuda->recorder_, cudaStreamNonBlocking), "create a stream on " + gpu.name));
  // A pool of its own, so that all memory goes back with the device. It keeps a little for the scratch memory of
  // topology updates.
  cudaMemPoolProps properties{};
  properties.allocType = cudaMemAllocationTypePinned;
  properties.location.type = cudaMemLocationTypeDevice;
  properties.location.id = index;
  HEBB_RETURN_IF_ERROR(
      statusOf(cudaMemPoolCreate(&cuda->pool_, &properties), "create a pool of memory on " + gpu.name));
  uint64_t kept = 64 << 20;
  HEBB_RETURN_IF_ERROR(statusOf(cudaMemPoolSetAttribute(cuda->pool_, cudaMemPoolAttrReleaseThreshold, &kept),
                                "set up the pool of memory"));
  void* own = nullptr;
  HEBB_RETURN_IF_ERROR(cuda->allocateZeroed(sizeof(Own), &own));
  cuda->own_ = static_cast<Own*>(own);
  if (blas == Blas::cublas) HEBB_RETURN_IF_ERROR(Cublas::open(*cuda, gpu.architecture, &cuda->cublas_));
#define HEBB_BIND(Type, name) cuda->operations_.name = name;
  HEBB_OPERATIONS(HEBB_BIND)
#undef HEBB_BIND

  int runtime = CUDART_VERSION;
  cudaRuntimeGetVersion(&runtime);
  info->kind = "cuda";
  info->name = gpu.name;
  info->memoryBytes = gpu.memoryBytes;
  info->blas = cuda->cublas_ ? cuda->cublas_->name() : "own";
  info->deterministic = deterministic == Deterministic::everywhere ? "everywhere" : "device";
  info->detail = "compute capability " + gpu.capability() + ", " + std::to_string(gpu.multiprocessors) +
                 " multiprocessors, driver CUDA " + versionOf(machine.driver) + ", runtime CUDA " + versionOf(runtime);
  *out = std::move(cuda);
  return {};
}

// Errors are of no use to anybody here: the memory goes back to the driver in any case.
Cuda::~Cuda() {
  cublas_.reset();
  if (!select().ok()) return;
  if (own_) releaseMemory(own_);
  if (stream_) {
    cudaStreamSynchronize(stream_);
    cudaStreamDestroy(stream_);
    if (recorder_) cudaStreamDestroy(recorder_);
  }
  if (pool_) cudaMemPoolDestroy(pool_);
  cudaGetLastError();
}

namespace {

/// The device for which this thread records. Other threads may use the device meanwhile: recording has a stream of its
/// own.
thread_local const Cuda* recording = nullptr;

class Graph final : public Backend::Recording {
 public:
  explicit Graph(Cuda& cuda) : cuda_(cuda) {}
  ~Graph() override {
    if (executable_ && cuda_.select().ok()) cudaGraphExecDestroy(executable_);
  }
  /// Takes the graph.
  Status take(cudaGraph_t graph) {
    const cudaError_t error = cudaGraphInstantiate(&executable_, graph, 0);
    cudaGraphDestroy(graph);
    return error == cudaSuccess ? Status{} : cuda_.report(error, "prepare a graph of operations");
  }
  Status run() override {
    HEBB_RETURN_IF_ERROR(cuda_.select());
    const cudaError_t error = cudaGraphLaunch(executable_, cuda_.stream());
    return error == cudaSuccess ? Status{} : cuda_.report(error, "launch a graph of operations");
  }

 private:
  Cuda& cuda_;
  cudaGraphExec_t executable_ = nullptr;
};

}  // namespace

cudaStream_t Cuda::stream() const { return recording == this ? recorder_ : stream_; }

// An operation that must wait cannot be recorded, nor can one that finds no memory: the caller then runs them one by
// one, and hears of it there.
Status Cuda::record(const std::function<Status()>& work, std::unique_ptr<Recording>* out) {
  out->reset();
  HEBB_RETURN_IF_ERROR(select());
  if (const cudaError_t error = cudaStreamBeginCapture(recorder_, cudaStreamCaptureModeThreadLocal);
      error != cudaSuccess)
    return report(error, "record operations");
  recording = this;
  const Status status = work();
  recording = nullptr;
  cudaGraph_t graph = nullptr;
  const cudaError_t error = cudaStreamEndCapture(recorder_, &graph);
  if (!status.ok() || error != cudaSuccess) {
    cudaGetLastError();
    if (graph) cudaGraphDestroy(graph);
    return {};
  }
  auto made = std::make_unique<Graph>(*this);
  HEBB_RETURN_IF_ERROR(made->take(graph));
  *out = std::move(made);
  return {};
}

Status Cuda::select() {
  {
    std::lock_guard lock(brokenMutex_);
    if (!broken_.ok()) return broken_;
  }
  const cudaError_t error = cudaSetDevice(index_);
  return error == cudaSuccess ? Status{} : report(error, "select device " + std::to_string(index_));
}

Status Cuda::report(cudaError_t error, const std::string& operation) {
  const Status status = statusOf(error, operation);
  if (!isFinal(error)) return status;
  std::lock_guard lock(brokenMutex_);
  if (broken_.ok()) {
    // To nvcc, an assignment is a call whose result nobody takes.
    static_cast<void>(
        broken_ =
            Status(status.code(), status.message() + ". GPU " + std::to_string(index_) +
                                      " does nothing more for this process: go on in a new one, or on another device"));
  }
  return broken_;
}

Status Cuda::allocateZeroed(size_t bytes, void** out) {
  HEBB_RETURN_IF_ERROR(select());
  const size_t size = bytes ? bytes : 1;  // no bytes at all would be no address
  void* memory = nullptr;
  cudaError_t error = cudaMallocFromPoolAsync(&memory, size, pool_, stream());
  if (error == cudaErrorMemoryAllocation && recording != this) {
    // What was given back is free only when the stream has come so far, and of that the pool keeps some.
    cudaGetLastError();
    HEBB_RETURN_IF_ERROR(wait());
    if (cudaMemPoolTrimTo(pool_, 0) != cudaSuccess) cudaGetLastError();
    error = cudaMallocFromPoolAsync(&memory, size, pool_, stream());
  }
  if (error != cudaSuccess) {
    const Status status = report(error, "allocate " + std::to_string(bytes) + " bytes");
    size_t free = 0, total = 0;
    if (status.code() != Code::outOfMemory || cudaMemGetInfo(&free, &total) != cudaSuccess) return status;
    const MemoryUse use = this->memory();
    return {Code::outOfMemory, "the GPU could not give " + std::to_string(bytes) +
                                   " bytes of memory: this device holds " + std::to_string(use.bytes) + " bytes in " +
                                   std::to_string(use.buffers) + " buffers, and " + std::to_string(free) +
                                   " of the GPU's " + std::to_string(total) + " bytes are free"};
  }
  error = cudaMemsetAsync(memory, 0, size, stream());  // before all that will use it: nobody waits
  if (error != cudaSuccess) {
    cudaFreeAsync(memory, stream());
    return report(error, "clear " + std::to_string(bytes) + " bytes");
  }
  *out = memory;
  return {};
}

// In the order of the stream: what was queued before may still use the memory, and nobody waits for it.
void Cuda::releaseMemory(void* memory) {
  if (select().ok() && cudaFreeAsync(memory, stream()) != cudaSuccess) cudaGetLastError();
}

/// Waits for a copy that was queued with this result.
Status Cuda::finish(cudaError_t queued, const char* operation, size_t bytes) {
  const cudaError_t error = queued == cudaSuccess ? cudaStreamSynchronize(stream()) : queued;
  return error == cudaSuccess ? Status{}
                              : report(error, std::string(operation) + " " + std::to_string(bytes) + " bytes");
}

Status Cuda::write(void* device, const void* host, size_t bytes) {
  if (!bytes) return {};
  HEBB_RETURN_IF_ERROR(select());
  return finish(cudaMemcpyAsync(device, host, bytes, cudaMemcpyHostToDevice, stream()), "write", bytes);
}

Status Cuda::read(void* host, const void* device, size_t bytes) {
  if (!bytes) return {};
  HEBB_RETURN_IF_ERROR(select());
  return finish(cudaMemcpyAsync(host, device, bytes, cudaMemcpyDeviceToHost, stream()), "read", bytes);
}

Status Cuda::copy(void* to, const void* from, size_t bytes) {
  if (!bytes) return {};
  HEBB_RETURN_IF_ERROR(select());
  return finish(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToDevice, stream()), "copy", bytes);
}

Status Cuda::writeActivations(const Activations& a, const float* host, int32_t columns) {
  if (a.features < 1 || a.panels() < 1) return {};
  Scratch<float> rows(*this);
  HEBB_RETURN_IF_ERROR(rows.allocate(int64_t{columns} * a.features));
  HEBB_RETURN_IF_ERROR(
      write(rows.data(), host, sizeof(float) * static_cast<size_t>(columns) * static_cast<size_t>(a.features)));
  const Transposed transposed = transposedOf(a, rows.data(), columns);
  const int64_t blocks = int64_t{transposed.featureTiles} * tiles(transposed.padded);
  HEBB_RETURN_IF_ERROR(launch(*this, "writeActivations", rowsToPanels, blocks, dim3(kTile, kTileRows), 0, transposed));
  return wait();
}

Status Cuda::readActivations(float* host, const Activations& a, int32_t columns) {
  if (a.features < 1 || columns < 1) return {};
  Scratch<float> rows(*this);
  HEBB_RETURN_IF_ERROR(rows.allocate(int64_t{columns} * a.features));
  const Transposed transposed = transposedOf(a, rows.data(), columns);
  const int64_t blocks = int64_t{transposed.featureTiles} * tiles(columns);
  HEBB_RETURN_IF_ERROR(launch(*this, "readActivations", panelsToRows, blocks, dim3(kTile, kTileRows), 0, transposed));
  return read(host, rows.data(), sizeof(float) * static_cast<size_t>(columns) * static_cast<size_t>(a.features));
}

int32_t Cuda::panel(int32_t capacity) const {
  return capacity > 64 ? 64 : (capacity + 15) / 16 * 16;  // 64: sixteen lanes of four columns, half a warp
}

Status Cuda::wait() {
  HEBB_RETURN_IF_ERROR(select());
  const cudaError_t error = cudaStreamSynchronize(stream());
  return error == cudaSuccess ? Status{} : report(error, "finish what was asked of the device");
}

Status Cuda::synchronize() {
  HEBB_RETURN_IF_ERROR(wait());
  Failure found;
  HEBB_RETURN_IF_ERROR(read(&found, failure(), sizeof found));
  if (found.problem == Problem::none) return {};
  const Failure nothing;
  HEBB_RETURN_IF_ERROR(write(failure(), &nothing, sizeof nothing));
  return statusOf(found);
}

}  // namespace cuda

bool cudaBuilt() { return true; }

int cudaDeviceCount(std::string* detail) {
  const cuda::Machine machine = cuda::lookAround();
  if (!machine.matter.empty()) {
    *detail = machine.matter + "; " + machine.remedy;
    return 0;
  }
  *detail = "driver CUDA " + cuda::versionOf(machine.driver);
  for (const auto& gpu : machine.gpus) *detail += ", " + gpu.name + " (compute capability " + gpu.capability() + ")";
  return static_cast<int>(machine.gpus.size());
}

Status openCuda(int index, std::unique_ptr<Backend>* out, DeviceInfo* info, Blas blas, Deterministic deterministic) {
  return cuda::Cuda::open(index, blas, deterministic, out, info);
}

}  // namespace hebb
