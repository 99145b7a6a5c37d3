// The emulated machine: devices, memory, streams, events, graphs. One lock for all of it; what waits runs what was
// queued, on its own thread. Like block.cc this is compiled without ThreadSanitizer.
#include "runtime.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <list>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "block.h"
#include "machine.h"

#if defined(HEBB_EMULATION_TSAN)
#include <sanitizer/tsan_interface.h>
#endif

namespace hebb::emulation {
namespace {

constexpr size_t kQueued = 1024;  // calls on a stream that wait to be run, at most
constexpr size_t kCanary = 64;    // bytes behind an allocation that must stay as they are; AddressSanitizer needs none
constexpr unsigned char kCanaryByte = 0xa5;

struct Work {
  std::function<cudaError_t()> run;
};

struct Allocation {
  size_t bytes = 0;
  int device = 0;
  CUmemPoolHandle_st* pool = nullptr;  // null: cudaMalloc
  CUgraph_st* graph = nullptr;         // it is allocated and freed by this graph's launches
  bool released = false;               // its release is queued
};

}  // namespace
}  // namespace hebb::emulation

using hebb::emulation::Work;

struct CUstream_st : hebb::emulation::StreamHead {
  explicit CUstream_st(int device) : StreamHead{queueForeign}, device(device) {}
  static int queueForeign(StreamHead* stream, std::function<int()> work);
  int device;
  std::deque<Work> queue;
  int64_t queued = 0, done = 0;
  CUgraph_st* capture = nullptr;
  bool invalid = false;  // the capture is
};

struct CUevent_st {
  CUstream_st* stream = nullptr;
  int64_t place = 0;  // done when so much of the stream is
  std::shared_ptr<double> milliseconds = std::make_shared<double>(0);
};

struct CUmemPoolHandle_st {
  int device;
  size_t used = 0, reserved = 0, threshold = 0;
};

struct CUgraph_st {
  int device = 0;
  std::vector<Work> nodes;
  int64_t open = 0;  // allocations without a release
  int users = 1;     // the handle and the executables
  std::vector<void*> memory;
};

struct CUgraphExec_st {
  CUgraph_st* graph;
};

namespace hebb::emulation {
namespace {

// ---- what is asked for by tests

std::mutex lock;
std::optional<Settings> settings;
std::optional<std::pair<Order, uint64_t>> chosenOrder;
/// Calls of one kind that fail: the `from`-th from now (1: the next; 0: none), and `count` - 1 after it.
struct Failing {
  int64_t from = 0, count = 0;
  std::string variable;  // as it was read last

  bool now(const char* name) {
    const char* text = std::getenv(name);
    if (variable != (text ? text : "")) {
      variable = text ? text : "";
      char* end = nullptr;
      from = text ? std::strtoll(text, &end, 10) : 0;
      count = text && end && *end == ':' ? std::strtoll(end + 1, nullptr, 10) : 1;
    }
    if (from == 0) return false;
    if (from > 1) {
      --from;
      return false;
    }
    if (--count <= 0) from = 0;
    return true;
  }
};
Failing failingAllocations, failingLaunches;
Counters counts;

int64_t number(const char* variable, int64_t otherwise) {
  const char* text = std::getenv(variable);
  return text && *text ? std::strtoll(text, nullptr, 10) : otherwise;
}

Settings now() {
  if (settings) return *settings;
  Settings s;
  s.devices = static_cast<int>(number("HEBB_EMULATION_DEVICES", s.devices));
  s.memory = number("HEBB_EMULATION_MEMORY", s.memory);
  s.architecture = static_cast<int>(number("HEBB_EMULATION_ARCHITECTURE", s.architecture));
  s.driver = static_cast<int>(number("HEBB_EMULATION_DRIVER", s.driver));
  return s;
}

std::pair<Order, uint64_t> orderNow() {
  if (chosenOrder) return *chosenOrder;
  const char* text = std::getenv("HEBB_EMULATION_ORDER");
  if (!text || !*text || !std::strcmp(text, "forward")) return {Order::forward, 0};
  if (!std::strcmp(text, "reversed")) return {Order::reversed, 0};
  if (!std::strncmp(text, "random:", 7)) return {Order::random, std::strtoull(text + 7, nullptr, 10)};
  std::fprintf(stderr, "Expected HEBB_EMULATION_ORDER to be forward, reversed or random:SEED, got %s\n", text);
  std::abort();
}

/// Writes the counters to the file that HEBB_EMULATION_COUNTERS names.
void writeCounters() {
  const char* path = std::getenv("HEBB_EMULATION_COUNTERS");
  if (!path || !*path) return;
  std::FILE* file = std::fopen(path, "w");
  if (!file) return;
  const auto n = [](int64_t count) { return static_cast<long long>(count); };
  std::fprintf(file,
               R"({"launches":%lld,"blocks":%lld,"graphLaunches":%lld,"synchronizations":%lld,"allocations":%lld,)"
               R"("toDevice":%lld,"toHost":%lld,"bytesToHost":%lld})",
               n(counts.launches), n(counts.blocks), n(counts.graphLaunches), n(counts.synchronizations),
               n(counts.allocations), n(counts.toDevice), n(counts.toHost), n(counts.bytesToHost));
  std::fclose(file);
}
struct AtTheEnd {
  ~AtTheEnd() { writeCounters(); }
} atTheEnd;

// ---- state

struct GraphicsProcessor {
  size_t reserved = 0;               // by pools and cudaMalloc
  cudaError_t broken = cudaSuccess;  // the error that stays
  std::unique_ptr<CUstream_st> defaultStream;
};

std::map<int, GraphicsProcessor> processors;
std::map<uintptr_t, Allocation> allocations;
std::set<CUstream_st*> streams;
std::set<CUevent_st*> events;
std::set<CUmemPoolHandle_st*> pools;
std::set<CUgraph_st*> graphs;
std::set<CUgraphExec_st*> executables;
std::map<const void*, int> sharedAllowed;               // by kernel: dynamic shared memory that was opted into
std::map<cudaError_t, std::list<std::string>> reports;  // the newest last; callers hold pointers to them
std::string lastReport;

thread_local int current = 0;
thread_local cudaError_t lastError = cudaSuccess;

cudaError_t note(cudaError_t error) {
  if (error != cudaSuccess && error != cudaErrorNotReady) lastError = error;
  return error;
}

cudaError_t driver() {
  const Settings s = now();
  if (s.driver < CUDART_VERSION / 1000 * 1000) return cudaErrorInsufficientDriver;
  return s.devices < 1 ? cudaErrorNoDevice : cudaSuccess;
}

/// What is wrong with the calling thread's device before anything is asked of it.
cudaError_t usable(int device = current) {
  if (const cudaError_t error = driver()) return error;
  if (device >= now().devices) return cudaErrorInvalidDevice;
  return processors[device].broken;
}

size_t sharedLimit() {
  switch (now().architecture) {
    case 80:
    case 87: return 163 << 10;
    case 86:
    case 89:
    case 120: return 99 << 10;
    default: return now().architecture < 80 ? 64 << 10 : 227 << 10;
  }
}

CUstream_st* streamOf(cudaStream_t stream) {
  if (stream) return streams.count(stream) ? stream : nullptr;
  auto& own = processors[current].defaultStream;
  if (!own) own.reset(new CUstream_st(current));
  return own.get();
}

cudaError_t fails(int device, cudaError_t error, const std::string& report) {
  processors[device].broken = error;
  lastReport = report;
  reports[error].push_back(report);
  return error;
}

/// The allocation that holds all of these bytes, or null.
Allocation* holding(const void* memory, size_t bytes) {
  const auto at = reinterpret_cast<uintptr_t>(memory);
  auto found = allocations.upper_bound(at);
  if (found == allocations.begin()) return nullptr;
  --found;
  return at - found->first <= found->second.bytes && bytes <= found->second.bytes - (at - found->first) ? &found->second
                                                                                                        : nullptr;
}

#if defined(__SANITIZE_ADDRESS__)
constexpr bool kGuarded = true;
#else
constexpr bool kGuarded = false;
#endif

void* take(size_t bytes) {
  void* memory = nullptr;
  if (posix_memalign(&memory, 256, kGuarded ? bytes : bytes + kCanary)) return nullptr;
  Unwatched unwatched;
  std::memset(memory, kUnwritten, bytes);
  if (!kGuarded) std::memset(static_cast<char*>(memory) + bytes, kCanaryByte, kCanary);
  return memory;
}

bool canaryLives(const void* memory, size_t bytes) {
  if (kGuarded) return true;
  const auto* canary = static_cast<const unsigned char*>(memory) + bytes;
  return std::all_of(canary, canary + kCanary, [](unsigned char c) { return c == kCanaryByte; });
}

/// Gives an allocation back; what it counted for goes with it.
cudaError_t drop(void* memory) {
  const auto found = allocations.find(reinterpret_cast<uintptr_t>(memory));
  const Allocation a = found->second;
  allocations.erase(found);
  if (a.pool && pools.count(a.pool)) a.pool->used -= a.bytes;
  if (!a.pool && !a.graph) processors[a.device].reserved -= a.bytes;
  counts.liveAllocations -= 1;
  counts.liveBytes -= static_cast<int64_t>(a.bytes);
  const bool intact = canaryLives(memory, a.bytes);
  {
    Unwatched unwatched;
    std::memset(memory, kUnwritten, a.bytes);  // who reads it later reads NaN
  }
  std::free(memory);
  if (!intact)
    return fails(a.device, cudaErrorIllegalAddress,
                 "somebody wrote behind the end of " + std::to_string(a.bytes) + " bytes of device memory");
  return cudaSuccess;
}

// ---- streams

cudaError_t runUntil(CUstream_st* stream, int64_t place) {
  GraphicsProcessor& processor = processors[stream->device];
  while (stream->done < place && !stream->queue.empty()) {
    const Work work = std::move(stream->queue.front());
    stream->queue.pop_front();
    stream->done += 1;
    if (processor.broken == cudaSuccess) {
      if (const cudaError_t error = work.run(); error != cudaSuccess && processor.broken == cudaSuccess)
        processor.broken = error;
    }
  }
  return processor.broken;
}

/// On a stream that is captured, calls become nodes of the graph.
cudaError_t enqueue(CUstream_st* stream, std::function<cudaError_t()> run) {
  if (stream->capture) {
    if (stream->invalid) return cudaErrorStreamCaptureInvalidated;
    stream->capture->nodes.push_back({std::move(run)});
    return cudaSuccess;
  }
  stream->queue.push_back({std::move(run)});
  stream->queued += 1;
  return stream->queue.size() > kQueued ? runUntil(stream, stream->done + 1) : cudaSuccess;
}

/// A wait for the whole stream. Pools then give back what they need not keep.
cudaError_t finish(CUstream_st* stream) {
  if (stream->capture) {
    stream->invalid = true;
    return cudaErrorStreamCaptureUnsupported;
  }
  counts.synchronizations += 1;
  const cudaError_t error = runUntil(stream, stream->queued);
  for (CUmemPoolHandle_st* pool : pools) {
    if (pool->device != stream->device) continue;
    const size_t kept = std::max(pool->used, std::min(pool->reserved, pool->threshold));
    processors[pool->device].reserved -= pool->reserved - kept;
    pool->reserved = kept;
  }
  return error;
}

cudaError_t finishAll(int device) {
  cudaError_t error = cudaSuccess;
  for (CUstream_st* stream : streams) {
    if (stream->device == device && !error) error = finish(stream);
  }
  if (auto& own = processors[device].defaultStream; own && !error) error = finish(own.get());
  return error;
}

cudaError_t allocate(void** memory, size_t bytes, CUmemPoolHandle_st* pool, CUgraph_st* graph) {
  counts.allocations += 1;
  if (bytes == 0) return cudaErrorInvalidValue;
  if (failingAllocations.now("HEBB_EMULATION_FAIL_ALLOCATION")) return cudaErrorMemoryAllocation;
  const int device = pool ? pool->device : current;
  GraphicsProcessor& processor = processors[device];
  const size_t grows = graph  ? 0
                       : pool ? (pool->used + bytes > pool->reserved ? pool->used + bytes - pool->reserved : 0)
                              : bytes;
  if (grows > static_cast<size_t>(now().memory) || processor.reserved > static_cast<size_t>(now().memory) - grows)
    return cudaErrorMemoryAllocation;
  *memory = take(bytes);
  if (!*memory) return cudaErrorMemoryAllocation;
  processor.reserved += grows;
  if (pool && !graph) {
    pool->reserved += grows;
    pool->used += bytes;
  }
  allocations[reinterpret_cast<uintptr_t>(*memory)] = {bytes, device, graph ? nullptr : pool, graph, false};
  counts.liveAllocations += 1;
  counts.liveBytes += static_cast<int64_t>(bytes);
  return cudaSuccess;
}

void letGo(CUgraph_st* graph) {
  if (--graph->users > 0) return;
  for (void* memory : graph->memory) (void)drop(memory);
  delete graph;
}

bool within(const void* memory, size_t bytes) {
  const Allocation* a = holding(memory, bytes);
  return a && !a->released;
}

cudaError_t copy(void* to, const void* from, size_t bytes, cudaMemcpyKind kind, CUstream_st* stream) {
  if (bytes == 0) return cudaSuccess;
  if (kind == cudaMemcpyDefault) {
    kind = holding(to, 1) ? (holding(from, 1) ? cudaMemcpyDeviceToDevice : cudaMemcpyHostToDevice)
                          : cudaMemcpyDeviceToHost;
  }
  const bool toDevice = kind == cudaMemcpyHostToDevice || kind == cudaMemcpyDeviceToDevice;
  const bool fromDevice = kind == cudaMemcpyDeviceToHost || kind == cudaMemcpyDeviceToDevice;
  if ((toDevice && !within(to, bytes)) || (fromDevice && !within(from, bytes))) return cudaErrorInvalidValue;
  const auto size = static_cast<int64_t>(bytes);
  return enqueue(stream, [=] {
    if (kind == cudaMemcpyHostToDevice) counts.toDevice += 1, counts.bytesToDevice += size;
    if (kind == cudaMemcpyDeviceToHost) counts.toHost += 1, counts.bytesToHost += size;
    if (kind == cudaMemcpyDeviceToDevice) counts.withinDevice += 1, counts.bytesWithinDevice += size;
    // By the order of the stream the memory may be gone by now.
    if ((toDevice && !holding(to, bytes)) || (fromDevice && !holding(from, bytes))) {
      return fails(
          stream->device, cudaErrorIllegalAddress,
          "a copy of " + std::to_string(bytes) + " bytes of device memory that was freed before its turn came");
    }
    std::memmove(to, from, bytes);
    return cudaSuccess;
  });
}

cudaError_t set(void* memory, int value, size_t bytes, CUstream_st* stream) {
  if (bytes == 0) return cudaSuccess;
  if (!within(memory, bytes)) return cudaErrorInvalidValue;
  return enqueue(stream, [=] {
    counts.memsets += 1;
    if (!holding(memory, bytes)) {
      return fails(stream->device, cudaErrorIllegalAddress, "device memory is set that was freed before its turn came");
    }
    std::memset(memory, value, bytes);
    return cudaSuccess;
  });
}

using Guard = std::lock_guard<std::mutex>;

}  // namespace

// ---- machine.h

void configure(const Settings& s) {
  Guard guard(lock);
  settings = s;
}
void setOrder(Order order, uint64_t seed) {
  Guard guard(lock);
  chosenOrder = {order, seed};
}
void failAllocations(int64_t first, int64_t count) {
  Guard guard(lock);
  failingAllocations.from = first;
  failingAllocations.count = count;
}
Counters counters() {
  Guard guard(lock);
  Counters c = counts;
  c.switches = switches();
  return c;
}
std::string report() {
  Guard guard(lock);
  return lastReport;
}
void reset() {
  Guard guard(lock);
  for (auto& [index, processor] : processors) processor.broken = cudaSuccess;
  lastReport.clear();
  lastError = cudaSuccess;
}

// ---- libraries that were loaded

}  // namespace hebb::emulation

int CUstream_st::queueForeign(StreamHead* stream, std::function<int()> work) {
  using namespace hebb::emulation;
  Guard guard(lock);
  return hebb::emulation::enqueue(static_cast<CUstream_st*>(stream), [work = std::move(work)] {
    Unwatched unwatched;
    return static_cast<cudaError_t>(work());
  });
}

namespace hebb::emulation {

// ---- launches

cudaError_t launch(const cudaLaunchConfig_t& config, const void* kernel, std::function<void()> thread) {
  Guard guard(lock);
  if (const cudaError_t error = usable()) return note(error);
  CUstream_st* stream = streamOf(config.stream);
  if (!stream) return note(cudaErrorInvalidResourceHandle);
  if (stream->device != current) return note(cudaErrorInvalidResourceHandle);
  const dim3 g = config.gridDim, b = config.blockDim;
  if (!g.x || !g.y || !g.z || g.x > 0x7fffffffu || g.y > 65535 || g.z > 65535)
    return note(cudaErrorInvalidConfiguration);
  if (!b.x || !b.y || !b.z || b.x > 1024 || b.y > 1024 || b.z > 64 || b.x * b.y * b.z > 1024)
    return note(cudaErrorInvalidConfiguration);
  const auto allowed = sharedAllowed.find(kernel);
  if (config.dynamicSmemBytes >
      (allowed == sharedAllowed.end() ? size_t{48} << 10 : static_cast<size_t>(allowed->second)))
    return note(cudaErrorInvalidValue);
  const Grid grid{g, b, config.dynamicSmemBytes, sharedLimit(), config.operation ? config.operation : "a kernel"};
  return note(enqueue(stream, [grid, device = stream->device, thread = std::move(thread)] {
    counts.launches += 1;
    counts.blocks += int64_t{grid.blocks.x} * grid.blocks.y * grid.blocks.z;
    const auto [order, seed] = orderNow();
    if (failingLaunches.now("HEBB_EMULATION_FAIL_LAUNCH"))
      return fails(device, cudaErrorIllegalAddress, std::string(grid.operation) + ": as the test asked");
    std::string report;
    const cudaError_t error = runGrid(grid, order, seed + static_cast<uint64_t>(counts.launches), thread, &report);
    return error ? fails(device, error, report) : cudaSuccess;
  }));
}

cudaError_t setAttribute(const void* kernel, cudaFuncAttribute attribute, int value) {
  Guard guard(lock);
  if (const cudaError_t error = usable()) return note(error);
  if (attribute == cudaFuncAttributeMaxDynamicSharedMemorySize) {
    if (value < 0 || static_cast<size_t>(value) > sharedLimit()) return note(cudaErrorInvalidValue);
    sharedAllowed[kernel] = value;
  }
  return cudaSuccess;
}

}  // namespace hebb::emulation

using namespace hebb::emulation;

// ---- errors

const char* cudaGetErrorName(cudaError_t error) {
  switch (error) {
#define HEBB_NAME(name, number, words) \
  case name: return #name;
    HEBB_CUDA_ERRORS(HEBB_NAME)
#undef HEBB_NAME
  }
  return "unrecognized error code";
}

const char* cudaGetErrorString(cudaError_t error) {
  Guard guard(lock);
  if (const auto found = reports.find(error); found != reports.end()) return found->second.back().c_str();
  switch (error) {
#define HEBB_WORDS(name, number, words) \
  case name: return words;
    HEBB_CUDA_ERRORS(HEBB_WORDS)
#undef HEBB_WORDS
  }
  return "unrecognized error code";
}

cudaError_t cudaGetLastError() {
  Guard guard(lock);
  const cudaError_t error = processors[current].broken ? processors[current].broken : lastError;
  lastError = cudaSuccess;
  return error;
}

cudaError_t cudaPeekAtLastError() {
  Guard guard(lock);
  return processors[current].broken ? processors[current].broken : lastError;
}

// ---- devices

cudaError_t cudaDriverGetVersion(int* version) {
  Guard guard(lock);
  *version = now().driver;
  return cudaSuccess;
}

cudaError_t cudaRuntimeGetVersion(int* version) {
  *version = CUDART_VERSION;
  return cudaSuccess;
}

cudaError_t cudaGetDeviceCount(int* count) {
  Guard guard(lock);
  writeCounters();
  *count = 0;
  if (const cudaError_t error = driver()) return note(error);
  *count = now().devices;
  return cudaSuccess;
}

cudaError_t cudaSetDevice(int device) {
  Guard guard(lock);
  if (const cudaError_t error = driver()) return note(error);
  if (device < 0 || device >= now().devices) return note(cudaErrorInvalidDevice);
  current = device;
  return note(processors[device].broken);
}

cudaError_t cudaGetDevice(int* device) {
  *device = current;
  return cudaSuccess;
}

cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int device) {
  Guard guard(lock);
  if (const cudaError_t error = driver()) return note(error);
  const Settings s = now();
  if (device < 0 || device >= s.devices) return note(cudaErrorInvalidDevice);
  *properties = {};
  std::snprintf(properties->name, sizeof properties->name, "Emulated GPU %d", device);
  properties->major = s.architecture / 10;
  properties->minor = s.architecture % 10;
  properties->multiProcessorCount = 4;
  properties->warpSize = 32;
  properties->maxThreadsPerBlock = 1024;
  properties->l2CacheSize = 4 << 20;
  properties->totalGlobalMem = static_cast<size_t>(s.memory);
  properties->sharedMemPerBlock = 48 << 10;
  properties->sharedMemPerBlockOptin = sharedLimit();
  properties->sharedMemPerMultiprocessor = sharedLimit() + 1024;
  return cudaSuccess;
}

cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr attribute, int device) {
  cudaDeviceProp p;
  if (const cudaError_t error = cudaGetDeviceProperties(&p, device)) return error;
  switch (attribute) {
    case cudaDevAttrMaxThreadsPerBlock: *value = p.maxThreadsPerBlock; break;
    case cudaDevAttrMaxSharedMemoryPerBlock: *value = static_cast<int>(p.sharedMemPerBlock); break;
    case cudaDevAttrMultiProcessorCount: *value = p.multiProcessorCount; break;
    case cudaDevAttrL2CacheSize: *value = p.l2CacheSize; break;
    case cudaDevAttrComputeCapabilityMajor: *value = p.major; break;
    case cudaDevAttrComputeCapabilityMinor: *value = p.minor; break;
    case cudaDevAttrMaxSharedMemoryPerBlockOptin: *value = static_cast<int>(p.sharedMemPerBlockOptin); break;
    default: return cudaErrorInvalidValue;
  }
  return cudaSuccess;
}

cudaError_t cudaDeviceSynchronize() {
  Guard guard(lock);
  if (const cudaError_t error = usable()) return note(error);
  return note(finishAll(current));
}

cudaError_t cudaMemGetInfo(size_t* free, size_t* total) {
  Guard guard(lock);
  if (const cudaError_t error = usable()) return note(error);
  *total = static_cast<size_t>(now().memory);
  *free = *total - std::min(*total, processors[current].reserved);
  return cudaSuccess;
}

// ---- streams and events

cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned) {
  Guard guard(lock);
  if (const cudaError_t error = usable()) return note(error);
  *stream = new CUstream_st(current);
  streams.insert(*stream);
  return cudaSuccess;
}

cudaError_t cudaStreamDestroy(cudaStream_t stream) {
  Guard guard(lock);
  if (!streams.count(stream)) return note(cudaErrorInvalidResourceHandle);
  (void)runUntil(stream, stream->queued);
  for (CUevent_st* event : events) {
    if (event->stream == stream) event->stream = nullptr;
  }
  if (stream->capture) letGo(stream->capture);
  streams.erase(stream);
  delete stream;
  return cudaSuccess;
}

cudaError_t cudaStreamSynchronize(cudaStream_t stream) {
  Guard guard(lock);
  if (const cudaError_t error = usable()) return note(error);
  CUstream_st* s = streamOf(stream);
  return note(s ? finish(s) : cudaErrorInvalidResourceHandle);
}

cudaError_t cudaStreamQuery(cudaStream_t stream) {
  Guard guard(lock);
  if (const cudaError_t error = usable()) return note(error);
  CUstream_st* s = streamOf(stream);
  if (!s) return note(cudaErrorInvalidResourceHandle);
  if (s->capture) return note(cudaErrorStreamCaptureUnsupported);
  // Time passes: who asks again and again gets there.
  if (!s->queue.empty()) {
    if (const cudaError_t error = runUntil(s, s->done + 1)) return note(error);
  }
  return s->queue.empty() ? cudaSuccess : cudaErrorNotReady;
}

cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned) {
  Guard guard(lock);
  if (const cudaError_t error = usable()) return note(error);
  *event = new CUevent_st;
  events.insert(*event);
  return cudaSuccess;
}

cudaError_t cudaEventDestroy(cudaEvent_t event) {
  Guard guard(lock);
  if (!events.erase(event)) return note(cudaErrorInvalidResourceHandle);
  delete event;
  return cudaSuccess;
}

cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream) {
  Guard guard(lock);
  if (const cudaError_t error = usable()) return note(error);
  CUstream_st* s = streamOf(stream);
  if (!s || !events.count(event)) return note(cudaErrorInvalidResourceHandle);
  const auto stamp = event->milliseconds;
  const cudaError_t error = enqueue(s, [stamp] {
    *stamp = std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now().time_since_epoch()).count();
    return cudaSuccess;
  });
  event->stream = s->capture ? nullptr : s;
  event->place = s->queued;
  return note(error);
}

cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned) {
  Guard guard(lock);
  if (const cudaError_t error = usable()) return note(error);
  CUstream_st* s = streamOf(stream);
  if (!s || !events.count(event)) return note(cudaErrorInvalidResourceHandle);
  CUstream_st* other = event->stream;
  if (!other || other == s) return cudaSuccess;
  return note(enqueue(s, [other, place = event->place] {
    return streams.count(other) ? runUntil(other, place) : cudaSuccess;  // a stream that is gone has finished
  }));
}

cudaError_t cudaEventSynchronize(cudaEvent_t event) {
  Guard guard(lock);
  if (const cudaError_t error = usable()) return note(error);
  if (!events.count(event)) return note(cudaErrorInvalidResourceHandle);
  counts.synchronizations += 1;
  return note(event->stream ? runUntil(event->stream, event->place) : cudaSuccess);
}

cudaError_t cudaEventQuery(cudaEvent_t event) {
  Guard guard(lock);
  if (const cudaError_t error = usable()) return note(error);
  if (!events.count(event)) return note(cudaErrorInvalidResourceHandle);
  if (!event->stream || event->stream->done >= event->place) return cudaSuccess;
  return note(runUntil(event->stream, event->stream->done + 1)) ? lastError
         : event->stream->done >= event->place                  ? cudaSuccess
                                                                : cudaErrorNotReady;
}

cudaError_t cudaEventElapsedTime(float* milliseconds, cudaEvent_t start, cudaEvent_t end) {
  Guard guard(lock);
  if (!events.count(start) || !events.count(end)) return note(cudaErrorInvalidResourceHandle);
  for (const CUevent_st* event : {start, end}) {
    if (event->stream && event->stream->done < event->place) return note(cudaErrorNotReady);
  }
  *milliseconds = static_cast<float>(*end->milliseconds - *start->milliseconds);
  return cudaSuccess;
}

// ---- memory

cudaError_t cudaMemPoolCreate(cudaMemPool_t* pool, const cudaMemPoolProps* properties) {
  Guard guard(lock);
  if (const cudaError_t error = usable()) return note(error);
  if (properties->allocType != cudaMemAllocationTypePinned || properties->location.type != cudaMemLocationTypeDevice)
    return note(cudaErrorInvalidValue);
  if (properties->location.id < 0 || properties->location.id >= now().devices) return note(cudaErrorInvalidDevice);
  *pool = new CUmemPoolHandle_st{properties->location.id};
  pools.insert(*pool);
  return cudaSuccess;
}

cudaError_t cudaMemPoolDestroy(cudaMemPool_t pool) {
  Guard guard(lock);
  if (!pools.erase(pool)) return note(cudaErrorInvalidValue);
  processors[pool->device].reserved -= pool->reserved;
  for (auto& [address, allocation] : allocations) {
    if (allocation.pool == pool) allocation.pool = nullptr, processors[allocation.device].reserved += allocation.bytes;
  }
  delete pool;
  return cudaSuccess;
}

cudaError_t cudaMemPoolSetAttribute(cudaMemPool_t pool, cudaMemPoolAttr attribute, void* value) {
  Guard guard(lock);
  if (!pools.count(pool) || attribute != cudaMemPoolAttrReleaseThreshold) return note(cudaErrorInvalidValue);
  pool->threshold = *static_cast<uint64_t*>(value);
  return cudaSuccess;
}

cudaError_t cudaMemPoolGetAttribute(cudaMemPool_t pool, cudaMemPoolAttr attribute, void* value) {
  Guard guard(lock);
  if (!pools.count(pool)) return note(cudaErrorInvalidValue);
  uint64_t& out = *static_cast<uint64_t*>(value);
  switch (attribute) {
    case cudaMemPoolAttrReleaseThreshold: out = pool->threshold; break;
    case cudaMemPoolAttrReservedMemCurrent: out = pool->reserved; break;
    case cudaMemPoolAttrUsedMemCurrent: out = pool->used; break;
  }
  return cudaSuccess;
}

cudaError_t cudaMemPoolTrimTo(cudaMemPool_t pool, size_t bytes) {
  Guard guard(lock);
  if (!pools.count(pool)) return note(cudaErrorInvalidValue);
  const size_t kept = std::max(pool->used, std::min(pool->reserved, bytes));
  processors[pool->device].reserved -= pool->reserved - kept;
  pool->reserved = kept;
  return cudaSuccess;
}

cudaError_t cudaMallocFromPoolAsync(void** memory, size_t bytes, cudaMemPool_t pool, cudaStream_t stream) {
  Guard guard(lock);
  if (const cudaError_t error = usable()) return note(error);
  CUstream_st* s = streamOf(stream);
  if (!s || !pools.count(pool)) return note(cudaErrorInvalidValue);
  if (s->capture && s->invalid) return note(cudaErrorStreamCaptureInvalidated);
  if (const cudaError_t error = allocate(memory, bytes, pool, s->capture)) return note(error);
  if (!s->capture) return cudaSuccess;
  // A node of the graph: the address is fixed now, the contents are anybody's at each launch.
  s->capture->memory.push_back(*memory);
  s->capture->open += 1;
  return note(enqueue(s, [at = *memory, bytes] {
    Unwatched unwatched;
    std::memset(at, kUnwritten, bytes);
    return cudaSuccess;
  }));
}

cudaError_t cudaFreeAsync(void* memory, cudaStream_t stream) {
  Guard guard(lock);
  if (const cudaError_t error = usable()) return note(error);
  if (!memory) return cudaSuccess;
  CUstream_st* s = streamOf(stream);
  const auto found = allocations.find(reinterpret_cast<uintptr_t>(memory));
  if (!s || found == allocations.end() || found->second.released) return note(cudaErrorInvalidValue);
  Allocation& a = found->second;
  if (a.graph != s->capture) {  // memory of a graph is freed in its graph, other memory outside of any
    if (s->capture) s->invalid = true;
    return note(cudaErrorInvalidValue);
  }
  counts.releases += 1;
  a.released = true;
  if (s->capture) {
    s->capture->open -= 1;
    return note(enqueue(s, [memory, bytes = a.bytes] {
      Unwatched unwatched;
      std::memset(memory, kUnwritten, bytes);
      return cudaSuccess;
    }));
  }
  return note(enqueue(s, [memory] { return drop(memory); }));
}

cudaError_t cudaMalloc(void** memory, size_t bytes) {
  Guard guard(lock);
  if (const cudaError_t error = usable()) return note(error);
  return note(allocate(memory, bytes, nullptr, nullptr));
}

cudaError_t cudaFree(void* memory) {
  Guard guard(lock);
  if (const cudaError_t error = usable()) return note(error);
  if (!memory) return cudaSuccess;
  const auto found = allocations.find(reinterpret_cast<uintptr_t>(memory));
  if (found == allocations.end() || found->second.released || found->second.graph) return note(cudaErrorInvalidValue);
  if (const cudaError_t error = finishAll(current)) return note(error);
  counts.releases += 1;
  return note(drop(memory));
}

cudaError_t cudaMallocHost(void** memory, size_t bytes) {
  *memory = std::malloc(bytes ? bytes : 1);
  return *memory ? cudaSuccess : cudaErrorMemoryAllocation;
}

cudaError_t cudaFreeHost(void* memory) {
  std::free(memory);
  return cudaSuccess;
}

cudaError_t cudaMemcpyAsync(void* to, const void* from, size_t bytes, cudaMemcpyKind kind, cudaStream_t stream) {
  Guard guard(lock);
  if (const cudaError_t error = usable()) return note(error);
  CUstream_st* s = streamOf(stream);
  return note(s ? copy(to, from, bytes, kind, s) : cudaErrorInvalidResourceHandle);
}

cudaError_t cudaMemcpy(void* to, const void* from, size_t bytes, cudaMemcpyKind kind) {
  Guard guard(lock);
  if (const cudaError_t error = usable()) return note(error);
  if (const cudaError_t error = copy(to, from, bytes, kind, streamOf(nullptr))) return note(error);
  return note(finish(streamOf(nullptr)));
}

cudaError_t cudaMemsetAsync(void* memory, int value, size_t bytes, cudaStream_t stream) {
  Guard guard(lock);
  if (const cudaError_t error = usable()) return note(error);
  CUstream_st* s = streamOf(stream);
  return note(s ? set(memory, value, bytes, s) : cudaErrorInvalidResourceHandle);
}

cudaError_t cudaMemset(void* memory, int value, size_t bytes) { return cudaMemsetAsync(memory, value, bytes, nullptr); }

// ---- graphs

cudaError_t cudaStreamBeginCapture(cudaStream_t stream, cudaStreamCaptureMode) {
  Guard guard(lock);
  if (const cudaError_t error = usable()) return note(error);
  if (!streams.count(stream)) return note(stream ? cudaErrorInvalidResourceHandle : cudaErrorStreamCaptureUnsupported);
  if (stream->capture) return note(cudaErrorIllegalState);
  stream->capture = new CUgraph_st;
  stream->capture->device = stream->device;
  stream->invalid = false;
  return cudaSuccess;
}

cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t* graph) {
  Guard guard(lock);
  *graph = nullptr;
  if (!streams.count(stream)) return note(cudaErrorInvalidResourceHandle);
  if (!stream->capture) return note(cudaErrorIllegalState);
  CUgraph_st* captured = stream->capture;
  stream->capture = nullptr;
  if (stream->invalid) {
    letGo(captured);
    return note(cudaErrorStreamCaptureInvalidated);
  }
  graphs.insert(captured);
  *graph = captured;
  return cudaSuccess;
}

cudaError_t cudaStreamIsCapturing(cudaStream_t stream, cudaStreamCaptureStatus* status) {
  Guard guard(lock);
  CUstream_st* s = streamOf(stream);
  if (!s) return note(cudaErrorInvalidResourceHandle);
  *status = !s->capture  ? cudaStreamCaptureStatusNone
            : s->invalid ? cudaStreamCaptureStatusInvalidated
                         : cudaStreamCaptureStatusActive;
  return cudaSuccess;
}

cudaError_t cudaGraphInstantiate(cudaGraphExec_t* executable, cudaGraph_t graph, unsigned long long) {
  Guard guard(lock);
  if (const cudaError_t error = usable()) return note(error);
  if (!graphs.count(graph)) return note(cudaErrorInvalidValue);
  // CUDA lets memory outlive the launch and then refuses the next one. Here it must be freed in the graph.
  if (graph->open != 0) return note(cudaErrorNotSupported);
  *executable = new CUgraphExec_st{graph};
  graph->users += 1;
  executables.insert(*executable);
  return cudaSuccess;
}

cudaError_t cudaGraphUpload(cudaGraphExec_t executable, cudaStream_t) {
  Guard guard(lock);
  return note(executables.count(executable) ? usable() : cudaErrorInvalidValue);
}

cudaError_t cudaGraphLaunch(cudaGraphExec_t executable, cudaStream_t stream) {
  Guard guard(lock);
  if (const cudaError_t error = usable()) return note(error);
  CUstream_st* s = streamOf(stream);
  if (!s || !executables.count(executable)) return note(cudaErrorInvalidValue);
  if (s->capture) {
    s->invalid = true;
    return note(cudaErrorStreamCaptureUnsupported);
  }
  CUgraph_st* graph = executable->graph;
  graph->users += 1;  // until it has run
  return note(enqueue(s, [graph] {
    counts.graphLaunches += 1;
    cudaError_t error = cudaSuccess;
    for (const Work& node : graph->nodes) {
      if (error == cudaSuccess) error = node.run();
    }
    letGo(graph);
    return error;
  }));
}

cudaError_t cudaGraphExecDestroy(cudaGraphExec_t executable) {
  Guard guard(lock);
  if (!executables.erase(executable)) return note(cudaErrorInvalidValue);
  letGo(executable->graph);
  delete executable;
  return cudaSuccess;
}

cudaError_t cudaGraphDestroy(cudaGraph_t graph) {
  Guard guard(lock);
  if (!graphs.erase(graph)) return note(cudaErrorInvalidValue);
  letGo(graph);
  return cudaSuccess;
}

cudaError_t cudaGraphGetNodes(cudaGraph_t graph, cudaGraphNode_t*, size_t* count) {
  Guard guard(lock);
  if (!graphs.count(graph)) return note(cudaErrorInvalidValue);
  *count = graph->nodes.size();
  return cudaSuccess;
}
