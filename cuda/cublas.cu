// Dense products by cuBLAS, and the passes around them.
//   linear, linearTransposed   all panels in one call, each a product of its own with the same weights; then the
//                              epilogue over all results
//   linearGradient             panels are set side by side first, [features][columns] with zeros for columns that are
//                              not valid, because cuBLAS knows nothing of a count in device memory and would else sum a
//                              panel at a time; then the result is written or added
//
// Roofline of the passes, bytes: linear 8 M B, linearTransposed 8 N B to 16 N B, linearGradient 8 (M + N) B + 8 M N to
// 12 M N; beside 2 M N B flop.
#include "cublas.h"

#include <dlfcn.h>

#include <cstdlib>
#include <new>

#include "epilogue.cuh"
#include "hebb/linear.h"

namespace hebb::cuda {

// What of cuBLAS's interface is used. 0 is success; 0 and 1 are the matrix as it is and transposed.
struct Cublas::Library {
  void* handle = nullptr;
  std::string path;
  int (*create)(void** handle) = nullptr;
  int (*destroy)(void* handle) = nullptr;
  int (*version)(void* handle, int* version) = nullptr;
  int (*setStream)(void* handle, cudaStream_t stream) = nullptr;
  int (*setWorkspace)(void* handle, void* workspace, size_t bytes) = nullptr;
  int (*multiply)(void* handle, int transposeA, int transposeB, int m, int n, int k, const float* alpha, const float* a,
                  int rowStrideOfA, long long nextA, const float* b, int rowStrideOfB, long long nextB,
                  const float* beta, float* c, int rowStrideOfC, long long nextC, int count) = nullptr;

  ~Library() {
    if (handle) dlclose(handle);
  }
  bool load(const char* name, std::string* why);
};

namespace {

constexpr const char* kNames[] = {"libcublas.so.13", "libcublas.so.12", "/usr/local/cuda/lib64/libcublas.so.13",
                                  "/usr/local/cuda/lib64/libcublas.so.12"};

template <class Function>
bool find(void* library, const char* name, Function* function, std::string* why) {
  *function = reinterpret_cast<Function>(dlsym(library, name));
  if (!*function) *why = std::string("it has no ") + name;
  return *function != nullptr;
}

const char* nameOf(int status) {
  switch (status) {
    case 1: return "CUBLAS_STATUS_NOT_INITIALIZED";
    case 3: return "CUBLAS_STATUS_ALLOC_FAILED";
    case 7: return "CUBLAS_STATUS_INVALID_VALUE";
    case 8: return "CUBLAS_STATUS_ARCH_MISMATCH";
    case 11: return "CUBLAS_STATUS_MAPPING_ERROR";
    case 13: return "CUBLAS_STATUS_EXECUTION_FAILED";
    case 14: return "CUBLAS_STATUS_INTERNAL_ERROR";
    case 15: return "CUBLAS_STATUS_NOT_SUPPORTED";
    default: return "an unknown status";
  }
}

Status statusOf(int status, const std::string& operation) {
  if (status == 0) return {};
  return {status == 3 ? Code::outOfMemory : Code::internal,
          "cuBLAS could not " + operation + ": " + nameOf(status) + " (" + std::to_string(status) + ")"};
}

}  // namespace

bool Cublas::Library::load(const char* name, std::string* why) {
  handle = dlopen(name, RTLD_NOW | RTLD_LOCAL);
  if (!handle) {
    *why = dlerror();
    return false;
  }
  path = name;
  return find(handle, "cublasCreate_v2", &create, why) && find(handle, "cublasDestroy_v2", &destroy, why) &&
         find(handle, "cublasGetVersion_v2", &version, why) && find(handle, "cublasSetStream_v2", &setStream, why) &&
         find(handle, "cublasSetWorkspace_v2", &setWorkspace, why) &&
         find(handle, "cublasSgemmStridedBatched", &multiply, why);
}

namespace {

/// HEBB_CUBLAS names a file to take and no other.
Status loadCublas(std::unique_ptr<Cublas::Library>* out) {
  const char* given = std::getenv("HEBB_CUBLAS");
  std::string tried;
  const auto attempt = [&](const char* name) {
    auto library = std::make_unique<Cublas::Library>();
    std::string why;
    if (library->load(name, &why)) {
      *out = std::move(library);
      return true;
    }
    tried += (tried.empty() ? "" : "; ") + std::string(name) + ": " + why;
    return false;
  };
  if (given && *given) {
    if (attempt(given)) return {};
  } else {
    for (const char* name : kNames) {
      if (attempt(name)) return {};
    }
  }
  return {Code::deviceUnavailable, "Expected blas 'cublas' to find cuBLAS, got none (" + tried +
                                       "). Install it (Debian and Ubuntu, from NVIDIA's repository: libcublas-13-0), "
                                       "or set LD_LIBRARY_PATH to its folder or "
                                       "HEBB_CUBLAS to its file, or use blas 'own'."};
}

}  // namespace

Cublas::Cublas(Cuda& cuda) : cuda_(cuda) {}

Status Cublas::open(Cuda& cuda, int architecture, std::unique_ptr<Cublas>* out) {
  std::unique_ptr<Cublas> cublas(new (std::nothrow) Cublas(cuda));
  if (!cublas) return {Code::outOfMemory, "the system could not give the memory"};
  HEBB_RETURN_IF_ERROR(loadCublas(&cublas->library_));
  const Library& library = *cublas->library_;
  HEBB_RETURN_IF_ERROR(cuda.select());
  HEBB_RETURN_IF_ERROR(statusOf(library.create(&cublas->handle_), "begin"));
  int version = 0;
  HEBB_RETURN_IF_ERROR(statusOf(library.version(cublas->handle_, &version), "tell its version"));
  cublas->name_ = "cuBLAS " + std::to_string(version / 10000) + "." + std::to_string(version / 100 % 100) + "." +
                  std::to_string(version % 100);
  // The sizes that its documentation recommends. Without memory of ours it would allocate some, which nobody could
  // count and no graph could record.
  cublas->workspaceBytes_ = architecture >= 90 ? 32 << 20 : 4 << 20;
  HEBB_RETURN_IF_ERROR(cuda.allocate(cublas->workspaceBytes_, &cublas->workspace_));
  *out = std::move(cublas);
  return {};
}

Cublas::~Cublas() {
  if (handle_ && cuda_.select().ok()) library_->destroy(handle_);
  cuda_.release(workspace_, workspaceBytes_);
}

Status Cublas::multiply(const char* operation, int32_t m, int32_t n, int32_t k, const Operand& a, const Operand& b,
                        float* out, int64_t outRowStride, int64_t outNext, int32_t count) {
  HEBB_RETURN_IF_ERROR(cuda_.select());
  std::lock_guard lock(mutex_);
  const float one = 1, zero = 0;
  // A new stream takes the workspace away.
  int status = library_->setStream(handle_, cuda_.stream());
  if (status == 0) status = library_->setWorkspace(handle_, workspace_, workspaceBytes_);
  if (status == 0) {
    status = library_->multiply(handle_, a.transposed, b.transposed, m, n, k, &one, a.data,
                                static_cast<int>(a.rowStride), a.next, b.data, static_cast<int>(b.rowStride), b.next,
                                &zero, out, static_cast<int>(outRowStride), outNext, count);
  }
  return statusOf(status, std::string("queue the product of ") + operation);
}

namespace {

constexpr int kThreads = 256;

/// Four columns of a row a thread.
template <class Epilogue>
__global__ void __launch_bounds__(kThreads)
    finishProduct(const float* sums, Activations y, int32_t panels, Epilogue epilogue, const Failure* failure) {
  const int32_t quarters = y.panel / 4;
  const int64_t i = static_cast<int64_t>(blockIdx.x) * kThreads + static_cast<int64_t>(threadIdx.x);
  const int64_t line = i / quarters;
  if (line >= static_cast<int64_t>(panels) * y.features || failed(failure)) return;
  const int32_t p = static_cast<int32_t>(line / y.features), row = static_cast<int32_t>(line % y.features);
  const int32_t column = static_cast<int32_t>(i % quarters) * 4;
  if (column >= liveColumns(y.axis, y.capacity, y.panel, p)) return;
  const int64_t at = p * y.panelStride() + int64_t{row} * y.panel + column;
  epilogue.inPanel(p).store(y.data, at, row, load4(sums + line * y.panel + column));
}

/// [features][columns of all panels], zeros where a column is not valid.
__global__ void __launch_bounds__(kThreads) setSideBySide(Activations x, int32_t panels, float* to) {
  const int32_t quarters = x.panel / 4;
  const int64_t i = static_cast<int64_t>(blockIdx.x) * kThreads + static_cast<int64_t>(threadIdx.x);
  const int64_t line = i / quarters;
  if (line >= static_cast<int64_t>(panels) * x.features) return;
  const int32_t p = static_cast<int32_t>(line / x.features), feature = static_cast<int32_t>(line % x.features),
                column = static_cast<int32_t>(i % quarters) * 4;
  const bool valid = column < liveColumns(x.axis, x.capacity, x.panel, p);
  const float* const from = x.data + p * x.panelStride() + int64_t{feature} * x.panel + column;
  store4(to + (static_cast<int64_t>(feature) * panels + p) * x.panel + column,
         valid ? load4(from) : make_float4(0.f, 0.f, 0.f, 0.f));
}

__global__ void __launch_bounds__(kThreads)
    finishGradient(const float* sums, LinearGradient op, int64_t count, const Failure* failure) {
  const int64_t i = static_cast<int64_t>(blockIdx.x) * kThreads + static_cast<int64_t>(threadIdx.x);
  if (i >= count || failed(failure)) return;
  op.gradient[i] = op.accumulate ? op.gradient[i] + loadOnce(sums + i) : loadOnce(sums + i);
}

/// A warp a row: its lanes take every 32nd column, and are added in pairs.
__global__ void __launch_bounds__(kThreads)
    sumRows(const float* rows, int64_t columns, LinearGradient op, const Failure* failure) {
  const int64_t row = static_cast<int64_t>(blockIdx.x) * (kThreads / kWarp) + static_cast<int64_t>(threadIdx.x) / kWarp;
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  if (row >= op.outputGradient.features || failed(failure)) return;  // whole warps
  float sum = 0.f;
  for (int64_t c = lane; c < columns; c += kWarp) sum += loadOnce(rows + row * columns + c);
  for (int mask = kWarp / 2; mask > 0; mask /= 2) sum += __shfl_xor_sync(kWholeWarp, sum, mask);
  if (lane == 0) op.biasGradient[row] = op.accumulateBias ? op.biasGradient[row] + sum : sum;
}

int64_t blocksFor(int64_t count) { return (count + kThreads - 1) / kThreads; }
int64_t numbersOf(const Activations& x) { return static_cast<int64_t>(x.panels()) * x.features * x.panel; }

/// y = epilogue(weights x), or of the weights transposed: weights are [M][N].
template <class Epilogue>
Status multiply(Cuda& cuda, const char* operation, const float* weights, bool transposed, const Activations& x,
                const Activations& y, const Epilogue& epilogue) {
  Scratch<float> sums(cuda);
  HEBB_RETURN_IF_ERROR(sums.allocate(numbersOf(y)));
  const int32_t n = transposed ? y.features : x.features;
  HEBB_RETURN_IF_ERROR(cuda.cublas()->multiply(operation, y.panel, y.features, x.features,
                                               {x.data, x.panel, x.panelStride(), false}, {weights, n, 0, transposed},
                                               sums.data(), y.panel, int64_t{y.features} * y.panel, y.panels()));
  return launch(cuda, operation, finishProduct<Epilogue>, blocksFor(numbersOf(y) / 4), dim3(kThreads), 0,
                static_cast<const float*>(sums.data()), y, y.panels(), epilogue, cuda.failure());
}

}  // namespace

Status linearByCublas(Cuda& cuda, const Linear& op) {
  return multiply(cuda, "linear", op.weights, false, op.input, op.output,
                  ForwardEpilogue{op.bias, op.activation == Activation::relu});
}

Status linearTransposedByCublas(Cuda& cuda, const LinearTransposed& op) {
  return multiply(cuda, "linearTransposed", op.weights, true, op.outputGradient, op.inputGradient,
                  backwardEpilogue(op));
}

Status linearGradientByCublas(Cuda& cuda, const LinearGradient& op) {
  const char* const name = "linearGradient";
  const Activations &dy = op.outputGradient, &x = op.input;
  const int32_t columns = x.panels() * x.panel;
  const int64_t count = int64_t{dy.features} * x.features;
  Scratch<float> rows(cuda), inputs(cuda), sums(cuda);
  HEBB_RETURN_IF_ERROR(rows.allocate(numbersOf(dy)));
  HEBB_RETURN_IF_ERROR(inputs.allocate(numbersOf(x)));
  HEBB_RETURN_IF_ERROR(sums.allocate(count));
  HEBB_RETURN_IF_ERROR(
      launch(cuda, name, setSideBySide, blocksFor(numbersOf(dy) / 4), dim3(kThreads), 0, dy, dy.panels(), rows.data()));
  HEBB_RETURN_IF_ERROR(
      launch(cuda, name, setSideBySide, blocksFor(numbersOf(x) / 4), dim3(kThreads), 0, x, x.panels(), inputs.data()));
  HEBB_RETURN_IF_ERROR(cuda.cublas()->multiply(name, x.features, dy.features, columns,
                                               {inputs.data(), columns, 0, true}, {rows.data(), columns, 0, false},
                                               sums.data(), x.features, 0, 1));
  HEBB_RETURN_IF_ERROR(launch(cuda, name, finishGradient, blocksFor(count), dim3(kThreads), 0,
                              static_cast<const float*>(sums.data()), op, count, cuda.failure()));
  if (!op.biasGradient) return {};
  return launch(cuda, name, sumRows, (int64_t{dy.features} + kThreads / kWarp - 1) / (kThreads / kWarp), dim3(kThreads),
                0, static_cast<const float*>(rows.data()), int64_t{columns}, op, cuda.failure());
}

}  // namespace hebb::cuda

namespace hebb {

bool findCublas(std::string* detail) {
  std::unique_ptr<cuda::Cublas::Library> library;
  const Status status = cuda::loadCublas(&library);
  *detail = status.ok() ? library->path : status.message();
  return status.ok();
}

}  // namespace hebb
