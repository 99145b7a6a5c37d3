// The CUDA device: one stream, its memory, and what CUDA's errors mean to hebb.
#pragma once

#if defined(HEBB_EMULATION)
#include "runtime.h"
#else
#include <cuda_runtime_api.h>
#endif

#include <mutex>

#include "failure.h"
#include "hebb/backend.h"

namespace hebb::cuda {

class Cublas;

/// A CUDA error as a Status. `operation` completes "could not ...".
Status statusOf(cudaError_t error, const std::string& operation);
/// Whether the GPU does nothing for this process any more after the error.
bool isFinal(cudaError_t error);

/// All that is asked of the device goes through one stream, so it happens in the order asked for. Operations return
/// once they are queued;
/// write, read and synchronize wait, and report what went wrong on the device since. What failed for its data
/// (failure.h) is reported by synchronize alone, and the device works again from then on. After an error that CUDA does
/// not recover from, every call reports that first error; other devices go on. Any thread may call.
class Cuda final : public Backend {
 public:
  static Status open(int index, Blas blas, Deterministic deterministic, std::unique_ptr<Backend>* out,
                     DeviceInfo* info);
  ~Cuda() override;

  const Operations& operations() const override { return operations_; }
  Status write(void* device, const void* host, size_t bytes) override;
  Status read(void* host, const void* device, size_t bytes) override;
  Status copy(void* to, const void* from, size_t bytes) override;
  Status writeActivations(const Activations& device, const float* host, int32_t columns) override;
  Status readActivations(float* host, const Activations& device, int32_t columns) override;
  int32_t panel(int32_t capacity) const override;
  PredictionRoute predictionRoute(int32_t rows, int32_t cols, int64_t links, LinkPredictor predictor) const override;
  Status synchronize() override;

  Status record(const std::function<Status()>& work, std::unique_ptr<Recording>* out) override;

  /// Where the calling thread's work goes: the device's stream, or the graph that this thread records.
  cudaStream_t stream() const;
  /// CUDA keeps a current device per thread: whoever comes to this object selects its device first. Fails when the
  /// device is broken.
  Status select();
  /// A CUDA error of this device as a Status; it is remembered if the device is broken from now on.
  Status report(cudaError_t error, const std::string& operation);

  /// In device memory: what failed for its data. Every kernel of an operation is given it.
  Failure* failure() const { return &own_->failure; }
  /// [kPartials] in device memory, for the sums of the blocks of the operation that runs.
  static constexpr int32_t kPartials = 4096;
  double* partials() const { return own_->partials; }
  /// In device memory, for sums of parts of a row: [2][kCuts][64], and [kCuts] counters that are 0 between operations
  /// (row_sums.cuh).
  static constexpr int32_t kCuts = 1 << 14;
  float* sums() const { return own_->sums; }
  int32_t* arrivals() const { return own_->arrivals; }
  /// For large dense products, where the device was opened with it; else null.
  Cublas* cublas() const { return cublas_.get(); }

 protected:
  Status allocateZeroed(size_t bytes, void** out) override;
  void releaseMemory(void* memory) override;

 private:
  /// The device's own memory.
  struct Own {
    Failure failure;
    double partials[kPartials];
    alignas(16) float sums[2 * kCuts * 64];
    int32_t arrivals[kCuts];
  };

  Cuda(int index, Deterministic deterministic);
  Status wait();
  Status finish(cudaError_t queued, const char* operation, size_t bytes);

  const int index_;
  const Deterministic deterministic_;
  cudaStream_t stream_ = nullptr, recorder_ = nullptr;
  cudaMemPool_t pool_ = nullptr;
  Own* own_ = nullptr;  // in device memory
  std::unique_ptr<Cublas> cublas_;
  Operations operations_;
  std::mutex brokenMutex_;
  Status broken_;  // the first error that CUDA does not recover from
};

inline Cuda& cudaOf(Backend& backend) { return static_cast<Cuda&>(backend); }

// One file for each header of the contract.
#define HEBB_DECLARE(Type, name) Status name(Backend&, const Type&);
HEBB_OPERATIONS(HEBB_DECLARE)
#undef HEBB_DECLARE

}  // namespace hebb::cuda
