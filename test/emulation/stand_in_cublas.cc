// Stands in for cuBLAS: a library with its names that multiplies by plain loops on an emulated GPU's stream. It checks
// what cuBLAS would check, and that the workspace is there whenever a product is queued, as recording graphs needs it.
//   HEBB_STAND_IN_FAIL=FUNCTION:STATUS   create, workspace or multiply returns this status
#include <cstdint>
#include <cstdlib>
#include <cstring>

#include "machine.h"

namespace {

constexpr int kNotInitialized = 1, kInvalidValue = 7, kInternalError = 14;

struct Handle {
  hebb::emulation::StreamHead* stream = nullptr;
  void* workspace = nullptr;
};

int asked(const char* function) {
  const char* text = std::getenv("HEBB_STAND_IN_FAIL");
  const char* colon = text ? std::strchr(text, ':') : nullptr;
  return colon && static_cast<size_t>(colon - text) == std::strlen(function) &&
                 !std::strncmp(text, function, std::strlen(function))
             ? std::atoi(colon + 1)
             : 0;
}

}  // namespace

extern "C" {
#define HEBB_EXPORT __attribute__((visibility("default")))

HEBB_EXPORT int cublasCreate_v2(void** handle) {
  if (const int status = asked("create")) return status;
  *handle = new Handle;
  return 0;
}

HEBB_EXPORT int cublasDestroy_v2(void* handle) {
  if (!handle) return kNotInitialized;
  delete static_cast<Handle*>(handle);
  return 0;
}

HEBB_EXPORT int cublasGetVersion_v2(void* handle, int* version) {
  if (!handle || !version) return kInvalidValue;
  *version = 130002;
  return 0;
}

HEBB_EXPORT int cublasSetStream_v2(void* handle, void* stream) {
  if (!handle) return kNotInitialized;
  *static_cast<Handle*>(handle) = {static_cast<hebb::emulation::StreamHead*>(stream), nullptr};
  return 0;
}

HEBB_EXPORT int cublasSetWorkspace_v2(void* handle, void* workspace, size_t bytes) {
  if (const int status = asked("workspace")) return status;
  if (!handle) return kNotInitialized;
  if (reinterpret_cast<uintptr_t>(workspace) % 256 || bytes < (4 << 20)) return kInvalidValue;
  static_cast<Handle*>(handle)->workspace = workspace;
  return 0;
}

HEBB_EXPORT int cublasSgemmStridedBatched(void* handle, int transposeA, int transposeB, int m, int n, int k,
                                          const float* alpha, const float* a, int lda, long long nextA, const float* b,
                                          int ldb, long long nextB, const float* beta, float* c, int ldc,
                                          long long nextC, int count) {
  if (const int status = asked("multiply")) return status;
  const auto* h = static_cast<const Handle*>(handle);
  if (!h) return kNotInitialized;
  if (!h->stream || !h->workspace) return kInternalError;
  if (m < 0 || n < 0 || k < 0 || count < 0 || transposeA < 0 || transposeA > 1 || transposeB < 0 || transposeB > 1)
    return kInvalidValue;
  if (lda < (transposeA ? k : m) || ldb < (transposeB ? n : k) || ldc < m ||
      (count > 1 && nextC < static_cast<long long>(ldc) * n))
    return kInvalidValue;
  // alpha and beta lie on the host, and are gone when the product's turn comes.
  return h->stream->enqueue(h->stream, [=, alpha = *alpha, beta = *beta] {
    for (long long p = 0; p < count; ++p) {
      for (long long j = 0; j < n; ++j) {
        for (long long i = 0; i < m; ++i) {
          float sum = 0;
          for (long long l = 0; l < k; ++l)
            sum += a[p * nextA + (transposeA ? l + i * lda : i + l * lda)] *
                   b[p * nextB + (transposeB ? j + l * ldb : l + j * ldb)];
          float& to = c[p * nextC + i + j * ldc];
          to = beta == 0 ? alpha * sum : alpha * sum + beta * to;
        }
      }
    }
    return 0;
  });
}
}
