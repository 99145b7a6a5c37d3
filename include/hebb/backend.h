// One device of one backend: its memory, and the place where operations run. Implemented by cpu/ and cuda/.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "hebb/activations.h"
#include "hebb/operations.h"
#include "hebb/status.h"
#include "hebb/link_prediction.h"

namespace hebb {

/// Live native memory of a device. Bytes as asked for by callers.
struct MemoryUse {
  int64_t buffers = 0, bytes = 0, peakBytes = 0;
};

class Backend {
 public:
  virtual ~Backend() = default;
  Backend(const Backend&) = delete;
  Backend& operator=(const Backend&) = delete;

  virtual const Operations& operations() const = 0;

  /// Device memory, zeroed, aligned to 64 bytes at least. Exact accounting; on failure nothing is held.
  Status allocate(size_t bytes, void** out) {
    HEBB_RETURN_IF_ERROR(allocateZeroed(bytes, out));
    buffers_ += 1;
    const int64_t now = bytes_ += static_cast<int64_t>(bytes);
    for (int64_t peak = peak_; now > peak && !peak_.compare_exchange_weak(peak, now);) {
    }
    return {};
  }
  void release(void* memory, size_t bytes) {
    if (!memory) return;
    releaseMemory(memory);
    buffers_ -= 1;
    bytes_ -= static_cast<int64_t>(bytes);
  }
  MemoryUse memory() const { return {buffers_, bytes_, peak_}; }

  // Copies between host and device, complete on return.
  virtual Status write(void* device, const void* host, size_t bytes) = 0;
  virtual Status read(void* host, const void* device, size_t bytes) = 0;
  /// Between two places on the device that do not overlap.
  virtual Status copy(void* to, const void* from, size_t bytes) = 0;
  /// host is [columns][features], the way users see a batch.
  virtual Status writeActivations(const Activations& device, const float* host, int32_t columns) = 0;
  virtual Status readActivations(float* host, const Activations& device, int32_t columns) = 0;

  /// Columns in a panel for activations of this capacity, a multiple of 16.
  virtual int32_t panel(int32_t capacity) const = 0;
  /// What the numbers of activations are kept as. The host's are fp32 always.
  virtual Format format() const { return Format::float32; }
  /// Memory for activations with these features and room for these columns.
  int64_t activationBytes(int32_t features, int32_t capacity) const {
    const int64_t width = panel(capacity);
    return (capacity + width - 1) / width * width * features * bytesOf(format());
  }

  /// Share of the possible links from which on a layer's forward product multiplies dense tiles (Csr::tiles). Above 1:
  /// never.
  virtual double denseFrom() const { return 2; }

  /// The route that PredictionRoute::automatic is for a layer of these sizes with at most so many links; `automatic`
  /// where the backend looks at the links themselves, or none is taken.
  virtual PredictionRoute predictionRoute(int32_t rows, int32_t cols, int64_t links, LinkPredictor predictor) const {
    (void)rows, (void)cols, (void)links, (void)predictor;
    return PredictionRoute::automatic;
  }

  /// Operations that the device runs again as one.
  class Recording {
   public:
    virtual ~Recording() = default;
    virtual Status run() = 0;
  };
  /// Records what `work` asks of the device, without doing it. Null where the device gains nothing by it, or `work`
  /// needs answers in between.
  virtual Status record(const std::function<Status()>& work, std::unique_ptr<Recording>* out) {
    (void)work;
    out->reset();
    return {};
  }

  /// Waits until all that was asked of the device is done. A backend that queues operations reports here what they
  /// would have returned: the first failure since the last call. The operations asked for after that one have changed
  /// nothing.
  virtual Status synchronize() = 0;

  /// Set by the engine to make long operations give up early; they then report Code::aborted.
  std::atomic<bool> stop{false};

 protected:
  Backend() = default;
  virtual Status allocateZeroed(size_t bytes, void** out) = 0;
  virtual void releaseMemory(void* memory) = 0;

 private:
  std::atomic<int64_t> buffers_{0}, bytes_{0}, peak_{0};
};

/// Transient memory of one operation, counted like all other.
template <class T>
class Scratch {
 public:
  explicit Scratch(Backend& backend) : backend_(backend) {}
  ~Scratch() { backend_.release(memory_, bytes_); }
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;
  Status allocate(int64_t count) {
    bytes_ = static_cast<size_t>(count > 0 ? count : 1) * sizeof(T);
    return backend_.allocate(bytes_, reinterpret_cast<void**>(&memory_));
  }
  T* data() const { return memory_; }
  T& operator[](int64_t i) const { return memory_[i]; }

 private:
  Backend& backend_;
  T* memory_ = nullptr;
  size_t bytes_ = 0;
};

struct CpuOptions {
  int threads = 0;        // 0: as many as the process may use
  std::string simd;       // "", or a level of cpuLevels() to run below what the processor can do
  double denseFrom = -1;  // what Backend::denseFrom() is to be; negative: as measured for the level
};

struct DeviceInfo {
  std::string kind;      // "cpu" or "cuda"
  std::string name;      // processor or GPU
  std::string simd;      // cpu: the level in use
  int threads = 0;       // cpu
  double denseFrom = 2;  // see Backend::denseFrom()
  int64_t memoryBytes = 0;
  std::string blas;                          // cuda: what multiplies dense matrices: "own", or cuBLAS and its version
  std::string deterministic = "everywhere";  // cuda: "device" or "everywhere"; cpu: "everywhere"
  std::string detail;                        // driver and runtime, or why there is none
};

/// What multiplies large dense matrices on a GPU: hebb's own kernels, whose bits are the same wherever they run, or
/// cuBLAS, loaded while the program runs.
enum class Blas { own, cublas };

/// Which routes a GPU takes where it is free to choose: the fastest that repeats itself on this device, or one whose
/// bits are those of every backend.
enum class Deterministic { device, everywhere };

constexpr auto namesOf(Deterministic) {
  using D = Deterministic;
  return std::array{Named<D>{"device", D::device}, Named<D>{"everywhere", D::everywhere}};
}

Status openCpu(const CpuOptions& options, std::unique_ptr<Backend>* out, DeviceInfo* info);

/// Whether this build holds the CUDA backend, and what it finds on this machine. Never fails; `detail` says why there
/// is no GPU.
bool cudaBuilt();
int cudaDeviceCount(std::string* detail);
/// Code::deviceUnavailable where there is no GPU, or no cuBLAS and it was asked for.
Status openCuda(int index, std::unique_ptr<Backend>* out, DeviceInfo* info, Blas blas = Blas::own,
                Deterministic deterministic = Deterministic::device);
/// Whether cuBLAS can be loaded; `detail` is its file, or why not. Never fails.
bool findCublas(std::string* detail);

}  // namespace hebb
