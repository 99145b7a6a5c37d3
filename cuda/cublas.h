// cuBLAS, where the machine has it and a device was opened with it: loaded while the program runs, so that hebb builds
// and works without. Its sums run in an order that NVIDIA may change from version to version and from GPU to GPU, so
// bits are not reproducible between machines; hence nobody gets it unasked.
#pragma once

#include <memory>
#include <mutex>
#include <string>

#include "cuda.h"
#include "hebb/linear.h"

namespace hebb::cuda {

class Cublas {
 public:
  /// The library's functions that are used here; the types are those of its documentation.
  struct Library;

  /// Loads the library and prepares it for the device. Fails where there is none, and says what helps.
  static Status open(Cuda& cuda, int architecture, std::unique_ptr<Cublas>* out);
  /// Before the device goes.
  ~Cublas();

  /// "cuBLAS 13.0.2".
  const std::string& name() const { return name_; }

  /// Matrices as cuBLAS sees them, column-major: a row-major [rows][columns] is one of columns x rows here, with
  /// `rowStride` numbers from row to row.
  struct Operand {
    const float* data;
    int64_t rowStride;  // leading dimension
    int64_t next;       // from a matrix to that of the next product
    bool transposed;
  };
  /// out (m x n) = a (m x k) b (k x n), `count` times. Queued on the device's stream, or recorded.
  Status multiply(const char* operation, int32_t m, int32_t n, int32_t k, const Operand& a, const Operand& b,
                  float* out, int64_t outRowStride, int64_t outNext, int32_t count);

 private:
  explicit Cublas(Cuda& cuda);
  Cuda& cuda_;
  std::unique_ptr<Library> library_;
  std::string name_;
  void* handle_ = nullptr;
  void* workspace_ = nullptr;  // in device memory
  size_t workspaceBytes_ = 0;
  std::mutex mutex_;  // the handle's stream and what is queued on it belong together
};

// The products of linear.h by cuBLAS, for layers that fill its tiles. What was asked for before may have failed, and
// cuBLAS does not ask: its products go into memory of their own, and a kernel of ours that does ask takes them from
// there, with bias, activation and accumulation.
Status linearByCublas(Cuda& cuda, const Linear& op);
Status linearTransposedByCublas(Cuda& cuda, const LinearTransposed& op);
Status linearGradientByCublas(Cuda& cuda, const LinearGradient& op);

}  // namespace hebb::cuda
