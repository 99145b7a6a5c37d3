// Chooses the level of SIMD by what the processor can run, and gives out memory: zeroed, aligned to 64 bytes, with room
// behind it for a vector load at its end. Large memory is advised to lie in huge pages.
#include "cpu.h"

#include <cmath>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <new>

#if defined(__linux__)
#include <sys/mman.h>
#include <unistd.h>
#endif

namespace hebb {
namespace cpu {

// Each compiled level defines bind() in its own namespace.
#if defined(__x86_64__)
namespace x86_64_v4 {
void bind(Operations&);
}
namespace x86_64_v3 {
void bind(Operations&);
}
namespace x86_64_v2 {
void bind(Operations&);
}
#endif
namespace portable {
void bind(Operations&);
}

const std::vector<Level>& levels() {
  static const std::vector<Level> all = {
#if defined(HEBB_X86_64_V4)
      {"x86-64-v4",
       [] {
         return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                __builtin_cpu_supports("avx512cd") && __builtin_cpu_supports("avx512dq") &&
                __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("fma");
       },
       x86_64_v4::bind, 0.32},
#endif
#if defined(__x86_64__)
      {"x86-64-v3",
       [] {
         return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("bmi") &&
                __builtin_cpu_supports("bmi2");
       },
       x86_64_v3::bind, 0.4},
#if defined(HEBB_X86_64_V2)
      {"x86-64-v2", [] { return __builtin_cpu_supports("sse4.2") && __builtin_cpu_supports("popcnt"); },
       x86_64_v2::bind, 0.5},
#endif
#endif
      {"portable", [] { return true; }, portable::bind, 0.5},
  };
  return all;
}

Cpu::Cpu(int threads, const Level& level, double denseFrom) : team(threads), denseFrom_(denseFrom) {
  level.bind(operations_);
#define HEBB_BIND(Type, name) operations_.name = name;
  HEBB_PLAIN_OPERATIONS(HEBB_BIND)
#undef HEBB_BIND
}

Status Cpu::allocateZeroed(size_t bytes, void** out) {
  // 64 bytes more than asked for: a vector load at the end of a buffer stays inside it. 64 more for what was allocated,
  // right before the buffer.
  const size_t padded = bytes + 2 * 64;
  // The system gives large memory zeroed, page by page when it is touched first, and so not now, on a thread that
  // others may wait for.
  char* allocated = padded < bytes ? nullptr : static_cast<char*>(std::calloc(1, padded));
  if (!allocated) return {Code::outOfMemory, "the system could not give " + std::to_string(bytes) + " bytes of memory"};
#if defined(__linux__)
  // Rows at random places of large memory would miss the translation of addresses as often as the caches.
  constexpr size_t kHuge = size_t{8} << 20;
  if (padded >= kHuge) {
    const uintptr_t page = static_cast<uintptr_t>(sysconf(_SC_PAGESIZE)),
                    first = (reinterpret_cast<uintptr_t>(allocated) + page - 1) / page * page;
    madvise(reinterpret_cast<void*>(first), (reinterpret_cast<uintptr_t>(allocated) + padded - first) / page * page,
            MADV_HUGEPAGE);
  }
#endif
  // At least 16 further, the alignment of calloc.
  char* memory = allocated + 64 - reinterpret_cast<uintptr_t>(allocated) % 64;
  std::memcpy(memory - sizeof allocated, &allocated, sizeof allocated);
  *out = memory;
  return {};
}

void Cpu::releaseMemory(void* memory) {
  void* allocated;
  std::memcpy(&allocated, static_cast<char*>(memory) - sizeof allocated, sizeof allocated);
  std::free(allocated);
}

Status Cpu::write(void* device, const void* host, size_t bytes) {
  if (bytes) std::memcpy(device, host, bytes);
  return {};
}

Status Cpu::read(void* host, const void* device, size_t bytes) {
  if (bytes) std::memcpy(host, device, bytes);
  return {};
}

Status Cpu::copy(void* to, const void* from, size_t bytes) {
  if (bytes) std::memcpy(to, from, bytes);
  return {};
}

Status Cpu::writeActivations(const Activations& a, const float* host, int32_t columns) {
  for (int32_t p = 0; p < a.panels(); ++p) {
    float* data = panelData(a, p);
    for (int32_t c = 0; c < a.panel; ++c) {
      const int32_t column = p * a.panel + c;
      for (int32_t f = 0; f < a.features; ++f) {
        data[static_cast<int64_t>(f) * a.panel + c] =
            column < columns ? host[static_cast<int64_t>(column) * a.features + f] : 0.f;
      }
    }
  }
  return {};
}

Status Cpu::readActivations(float* host, const Activations& a, int32_t columns) {
  for (int32_t column = 0; column < columns; ++column) {
    const float* data = panelData(a, column / a.panel) + column % a.panel;
    for (int32_t f = 0; f < a.features; ++f)
      host[static_cast<int64_t>(column) * a.features + f] = data[static_cast<int64_t>(f) * a.panel];
  }
  return {};
}

int32_t Cpu::panel(int32_t capacity) const {
  const int32_t panels = (capacity + kWidestPanel - 1) / kWidestPanel;
  return ((capacity + panels - 1) / panels + 15) / 16 * 16;
}

namespace {

std::string processorName() {
  std::ifstream info("/proc/cpuinfo");
  for (std::string line; std::getline(info, line);) {
    if (line.rfind("model name", 0) == 0) {
      const size_t colon = line.find(':');
      return colon == std::string::npos ? line : line.substr(colon + 2);
    }
  }
#if defined(__aarch64__)
  return "arm64";
#else
  return "x86-64";
#endif
}

}  // namespace
}  // namespace cpu

Status openCpu(const CpuOptions& options, std::unique_ptr<Backend>* out, DeviceInfo* info) {
  if (options.threads < 0 || options.threads > 1024) {
    return {Code::invalidArgument, "Expected threads to be between 1 and 1024, got " + std::to_string(options.threads)};
  }
  if (std::isnan(options.denseFrom))
    return {Code::invalidArgument, "Expected denseFrom to be a share of the possible links, got NaN"};
  const cpu::Level* chosen = nullptr;
  std::string names;
  for (const auto& level : cpu::levels()) {
    if (!level.supported()) continue;
    names += (names.empty() ? "" : ", ") + std::string(level.name);
    if (!chosen && (options.simd.empty() || options.simd == level.name)) chosen = &level;
  }
  if (!chosen)
    return {Code::invalidArgument,
            "Expected simd to be one of " + names + " on this processor, got '" + options.simd + "'"};
  const int threads = options.threads ? options.threads : cpu::usableThreads();
  try {
    *out = std::make_unique<cpu::Cpu>(threads, *chosen, options.denseFrom >= 0 ? options.denseFrom : chosen->denseFrom);
  } catch (const std::exception& error) {
    return {Code::deviceUnavailable, "could not start " + std::to_string(threads) + " threads: " + error.what()};
  }
  info->kind = "cpu";
  info->name = cpu::processorName();
  info->simd = chosen->name;
  info->threads = threads;
  info->denseFrom = (*out)->denseFrom();
  info->detail = names;
  return {};
}

}  // namespace hebb
