// A block's threads share one operating-system thread. Each runs until it must wait for others, then the next one goes
// on: a run depends on the order asked for and on nothing else. A fiber whose thread has ended takes the next thread
// that has not begun, so kernels without barriers and warp primitives never leave the first fiber.
//
// This file is compiled without ThreadSanitizer, which then sees the kernels' accesses and what orders them on a GPU:
// barriers, __syncwarp, fences and launches. To it every thread of a block is a thread of its own, in one of two sets
// that blocks take in turn: neighbouring blocks are unordered. State that fibers touch is plain arrays: whatever shares
// a template with instrumented code would be watched.
#include "block.h"

#include <cmath>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "emulation.h"
#include "fiber.h"

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#endif
#if defined(HEBB_EMULATION_TSAN)
#include <sanitizer/tsan_interface.h>
extern "C" {
void AnnotateIgnoreReadsBegin(const char* file, int line);
void AnnotateIgnoreReadsEnd(const char* file, int line);
void AnnotateIgnoreWritesBegin(const char* file, int line);
void AnnotateIgnoreWritesEnd(const char* file, int line);
}
#endif

uint3 threadIdx, blockIdx;
dim3 blockDim, gridDim;

namespace hebb::emulation {
namespace {

constexpr unsigned kThreads = 1024;  // of a block, at most
constexpr unsigned kWarp = 32;
constexpr unsigned kCopies = 64;  // cp.async under way in one thread, at most
constexpr unsigned kShared = 64;  // shared variables of a kernel, at most

enum class State : uint8_t { fresh, ready, atBarrier, inWarp, ended };

struct Worker {
  Worker();
  Fiber fiber;
};

struct Thread {
  uint3 index;
  uint16_t number;
  uint8_t lane, warp;
  State state;
  Worker* worker;
  const char* file;  // where it waits
  int line;
};

/// A warp primitive that some lanes have reached.
struct Meeting {
  unsigned mask, arrived, leaving;
  Collective kind;
  const char* file;
  int line;
  Word words[kWarp];
  Word result;
  char order;  // what ThreadSanitizer knows __syncwarp by
  Meeting* next;
};

struct Copies {
  struct {
    void* to;
    const void* from;
    int bytes, valid, group;
  } list[kCopies];
  unsigned count;
  int group;
};

struct {
  unsigned arrived;
  Barrier kind;
  int gathered, result;
  unsigned parity;
  const char* file;
  int line;
} meetingPoint;

struct {
  const void* key;
  void* memory;
  size_t bytes;
} sharedVariables[kShared];
unsigned sharedCount;
size_t sharedBytes;
unsigned char* dynamicShared;

Thread threads[kThreads];
Copies copies[kThreads];
unsigned threadCount, live;
unsigned lanesLeft[kThreads / kWarp];        // lanes that have not ended
Meeting* meetings[kThreads / kWarp][kWarp];  // by the lowest lane of the mask
Meeting meetingStore[2][kThreads];
Meeting* freeMeetings;

uint16_t ready[2 * kThreads];  // a ring
unsigned readyFirst, readyEnd;
uint16_t fresh[kThreads];  // in the order in which they begin
unsigned freshNext;

Worker* workers[2 * kThreads];
unsigned workerCount;

Thread* self;      // who runs; null: the host
Thread* starting;  // for the worker that is switched to
Fiber host;
const Grid* grid;
const std::function<void()>* body;
Order order;
uint64_t randomState = 1;
int64_t switchCount;

bool failed;
cudaError_t failure;
char failureText[2048];

// ---- ThreadSanitizer

unsigned set_;  // 0 or 1, of the block that runs
#if defined(HEBB_EMULATION_TSAN)
char launchOrder, endOrder, fenceOrder, barrierOrder[2][2];
void* contexts[2][kThreads];
void* hostContext;
void acquire(char* order) { __tsan_acquire(order); }
void release(char* order) { __tsan_release(order); }
void become(const Thread* thread) {
  __tsan_switch_to_fiber(thread ? contexts[set_][thread->number] : hostContext, __tsan_switch_to_fiber_no_sync);
}
#define HEBB_ORDER(name) &name
#else
void acquire(char*) {}
void release(char*) {}
void become(const Thread*) {}
#define HEBB_ORDER(name) nullptr
#endif

// ---- who runs next

uint64_t random() {
  randomState ^= randomState << 13;
  randomState ^= randomState >> 7;
  randomState ^= randomState << 17;
  return randomState;
}

void push(unsigned number) {
  threads[number].state = State::ready;
  ready[readyEnd++ % (2 * kThreads)] = static_cast<uint16_t>(number);
}

/// Those that have begun go first: few of a block's warps are then under way at once. In random order, everybody has
/// the same chance.
Thread* pick() {
  const unsigned waiting = readyEnd - readyFirst, unborn = threadCount - freshNext;
  if (waiting + unborn == 0) return nullptr;
  if (order == Order::random) {
    const unsigned chosen = static_cast<unsigned>(random() % (waiting + unborn));
    if (chosen >= waiting) return &threads[fresh[freshNext++]];
    uint16_t& a = ready[readyFirst % (2 * kThreads)];
    uint16_t& b = ready[(readyFirst + chosen) % (2 * kThreads)];
    const uint16_t number = b;
    b = a;
    ++readyFirst;
    return &threads[number];
  }
  if (waiting) return &threads[ready[readyFirst++ % (2 * kThreads)]];
  return &threads[fresh[freshNext++]];
}

[[noreturn]] void deadlock() {
  char waiting[1024] = "";
  size_t length = 0;
  int shown = 0;
  for (unsigned i = 0; i < threadCount && shown < 4; ++i) {
    const Thread& t = threads[i];
    if (t.state != State::atBarrier && t.state != State::inWarp) continue;
    length += static_cast<size_t>(snprintf(waiting + length, sizeof waiting - length, "%s thread %u at the %s in %s:%d",
                                           shown++ ? "," : "", t.number,
                                           t.state == State::atBarrier ? "barrier" : "warp primitive", t.file, t.line));
    if (length >= sizeof waiting) break;
  }
  self = nullptr;
  fault(cudaErrorLaunchFailure, "threads wait for each other for ever:%s", waiting);
}

Worker* newWorker() {
  workers[workerCount] = new Worker;
  return workers[workerCount++];
}

#if defined(HEBB_EMULATION_TSAN)
// To ThreadSanitizer, two threads that use one stack after each other race. Each of its threads has its own.
Worker* own[2][kThreads];
Worker* workerFor(const Thread* thread) {
  Worker*& worker = own[set_][thread->number];
  if (!worker) worker = newWorker();
  return worker;
}
void retire(Worker*) {}
void retireAll() {}
constexpr bool kTakesNext = false;
#else
Worker* idle[kThreads];
unsigned idleCount;
Worker* workerFor(const Thread*) { return idleCount ? idle[--idleCount] : newWorker(); }
void retire(Worker* worker) { idle[idleCount++] = worker; }
void retireAll() {
  idleCount = 0;
  for (unsigned i = 0; i < workerCount; ++i) retire(workers[i]);
}
constexpr bool kTakesNext = true;
#endif

void resume(Thread* thread) {
  self = thread;
  threadIdx = thread->index;
}

void change(Worker* from, Worker* to, const Thread* as) {
  ++switchCount;
  become(as);
  Fiber::change(from->fiber, to->fiber);
}

/// Runs others until somebody has made `me` ready and its turn has come.
void wait() {
  Thread* const me = self;
  Thread* const next = pick();
  if (!next) deadlock();
  if (next == me) return;
  if (next->state == State::fresh) {
    starting = next;
    change(me->worker, workerFor(next), next);
  } else {
    change(me->worker, next->worker, next);
  }
  resume(me);
}

void ends(Thread* thread) {
  const unsigned number = thread->number;
  if (copies[number].count)
    fault(cudaErrorLaunchFailure, "the thread ends with cp.async under way that nobody waited for");
  if (meetingPoint.arrived) {
    fault(cudaErrorLaunchFailure, "the thread ends while others of its block wait at the barrier in %s:%d",
          meetingPoint.file, meetingPoint.line);
  }
  for (const Meeting* m : meetings[thread->warp]) {
    if (m && (m->mask >> thread->lane & 1)) {
      fault(cudaErrorLaunchFailure,
            "the thread ends while others of its warp wait for it at the warp primitive in %s:%d", m->file, m->line);
    }
  }
  thread->state = State::ended;
  --live;
  lanesLeft[thread->warp] &= ~(1u << thread->lane);
}

void work(void* argument) {
  auto* const worker = static_cast<Worker*>(argument);
  worker->fiber.entered();
  for (;;) {
    Thread* const thread = starting;
    thread->worker = worker;
    thread->state = State::ready;
    resume(thread);
    acquire(HEBB_ORDER(launchOrder));
    (*body)();
    ends(thread);
    release(HEBB_ORDER(endOrder));
    Thread* const next = pick();
    if (!next && live) deadlock();
    if (next && next->state == State::fresh) {
      starting = next;
      if (kTakesNext) continue;
      change(worker, workerFor(next), next);
      continue;
    }
    retire(worker);
    if (next) {
      change(worker, next->worker, next);
    } else {
      self = nullptr;
      become(nullptr);
      Fiber::change(worker->fiber, host);
    }
  }
}

Worker::Worker() : fiber(work, this) {}

void* unwritten(size_t bytes, size_t alignment) {
  void* memory = nullptr;
  if (posix_memalign(&memory, alignment, bytes)) abort();
#if defined(HEBB_EMULATION_TSAN)
  // Not memset, which would be watched.
  for (volatile char* c = static_cast<char*>(memory); bytes > 0; --bytes) *c++ = static_cast<char>(kUnwritten);
#else
  memset(memory, kUnwritten, bytes);
#endif
  return memory;
}

void runBlock() {
  const unsigned warps = (threadCount + kWarp - 1) / kWarp;
  {
    Unwatched unwatched;
    dynamicShared = grid->dynamicShared ? static_cast<unsigned char*>(unwritten(grid->dynamicShared, 16)) : nullptr;
  }
  meetingPoint = {};
  readyFirst = readyEnd = freshNext = 0;
  live = threadCount;
  set_ ^= 1;
  freeMeetings = nullptr;
  for (unsigned i = 0; i < threadCount; ++i) {
    meetingStore[set_][i].next = freeMeetings;
    freeMeetings = &meetingStore[set_][i];
  }
  for (unsigned i = 0; i < threadCount; ++i) {
    threads[i].state = State::fresh;
    copies[i].count = 0;
    copies[i].group = 0;
    fresh[i] = static_cast<uint16_t>(order == Order::reversed ? threadCount - 1 - i : i);
  }
  if (order == Order::random) {
    for (unsigned i = threadCount; i > 1; --i) {
      const unsigned j = static_cast<unsigned>(random() % i);
      const uint16_t other = fresh[j];
      fresh[j] = fresh[i - 1];
      fresh[i - 1] = other;
    }
  }
  for (unsigned w = 0; w < warps; ++w) {
    lanesLeft[w] = threadCount - w * kWarp >= kWarp ? ~0u : (1u << (threadCount - w * kWarp)) - 1;
    for (Meeting*& m : meetings[w]) m = nullptr;
  }
  starting = pick();
  ++switchCount;
  Worker* const first = workerFor(starting);
  become(starting);
  Fiber::change(host, first->fiber);
  self = nullptr;
  Unwatched unwatched;
  for (unsigned i = 0; i < sharedCount; ++i) free(sharedVariables[i].memory);
  sharedCount = 0;
  sharedBytes = 0;
  free(dynamicShared);
  dynamicShared = nullptr;
}

/// After a failure: whatever the fibers were doing, they begin anew.
void clearAway() {
  for (unsigned i = 0; i < workerCount; ++i) workers[i]->fiber.restart();
  retireAll();
#if defined(HEBB_EMULATION_TSAN)
  for (auto& half : contexts) {
    for (void*& context : half) {
      if (context) __tsan_destroy_fiber(context);
      context = nullptr;
    }
  }
#endif
}

bool samePlace(const char* a, int lineOfA, const char* b, int lineOfB) {
  return lineOfA == lineOfB && (a == b || !strcmp(a, b));
}

unsigned combine(const Meeting& m) {
  unsigned result = 0;
  bool first = true;
  for (unsigned lane = 0; lane < kWarp; ++lane) {
    if (!(m.mask >> lane & 1)) continue;
    const auto v = static_cast<unsigned>(m.words[lane].bits);
    const bool isSigned = m.words[lane].isSigned;
    const auto below = [isSigned](unsigned a, unsigned b) {
      return isSigned ? static_cast<int>(a) < static_cast<int>(b) : a < b;
    };
    switch (m.kind) {
      case Collective::ballot: result |= v << lane; break;
      case Collective::any:
      case Collective::bitOr: result |= v; break;
      case Collective::all:
      case Collective::bitAnd: result = first ? v : result & v; break;
      case Collective::bitXor: result ^= v; break;
      case Collective::add: result += v; break;
      case Collective::least: result = first || below(v, result) ? v : result; break;
      case Collective::most: result = first || below(result, v) ? v : result; break;
      default: break;
    }
    first = false;
  }
  return result;
}

bool isShuffle(Collective kind) {
  return kind == Collective::shuffle || kind == Collective::shuffleUp || kind == Collective::shuffleDown ||
         kind == Collective::shuffleXor;
}

// ---- tensor cores

/// What a lane brings to mma.sync and takes from it, on its own stack: all lanes are there while the last one to come
/// multiplies.
struct Fragments {
  const uint32_t *a, *b;
  float* sums;
};

double numberOfTf32(uint32_t bits) {
  float x;
  memcpy(&x, &bits, sizeof x);
  return x;
}

double numberOfHalf(uint32_t bits) {
  const int exponent = static_cast<int>(bits >> 10 & 31), fraction = static_cast<int>(bits & 1023);
  const double size = exponent == 31 ? (fraction ? NAN : INFINITY)
                      : exponent     ? ldexp(1024 + fraction, exponent - 25)
                                     : ldexp(fraction, -24);
  return bits >> 15 & 1 ? -size : size;
}

/// The sum of the addends as emulation.h describes it.
float sumOf(const double* addends, unsigned count) {
  double largest = 0, plain = 0;
  for (unsigned i = 0; i < count; ++i) {
    plain += addends[i];
    largest = fmax(largest, fabs(addends[i]));
  }
  if (!std::isfinite(plain) || largest == 0) return static_cast<float>(plain);
  const double unit = ldexp(1, ilogb(largest) - 24);
  double sum = 0;
  for (unsigned i = 0; i < count; ++i) sum += trunc(addends[i] / unit);
  sum *= unit;
  const auto rounded = static_cast<float>(sum);
  return std::isfinite(rounded) && fabs(static_cast<double>(rounded)) > fabs(sum) ? nextafterf(rounded, 0) : rounded;
}

void multiplyAll(const Meeting& m) {
  constexpr unsigned rows = 16, columns = 8;
  const bool half = m.kind == Collective::multiplyHalf;
  // `across`: of the sum's places, with the first half of a lane's words.
  const unsigned depth = half ? 16 : 8, perWord = half ? 2 : 1, across = 4 * perWord;
  double a[rows][16], b[16][columns];
  const auto lanes = [&](unsigned lane) {
    Fragments f;
    memcpy(&f, reinterpret_cast<const void*>(m.words[lane].bits), sizeof f);
    return f;
  };
  const auto part = [&](uint32_t word, unsigned i) {
    return half ? numberOfHalf(word >> 16 * i & 0xffff) : numberOfTf32(word);
  };
  for (unsigned lane = 0; lane < kWarp; ++lane) {
    const Fragments f = lanes(lane);
    const unsigned g = lane / 4, t = lane % 4;
    for (unsigned w = 0; w < 4; ++w) {
      for (unsigned i = 0; i < perWord; ++i) a[g + w % 2 * 8][t * perWord + i + w / 2 * across] = part(f.a[w], i);
    }
    for (unsigned w = 0; w < 2; ++w) {
      for (unsigned i = 0; i < perWord; ++i) b[t * perWord + i + w * across][g] = part(f.b[w], i);
    }
  }
  for (unsigned lane = 0; lane < kWarp; ++lane) {
    const Fragments f = lanes(lane);
    const unsigned g = lane / 4, t = lane % 4;
    for (unsigned w = 0; w < 4; ++w) {
      double addends[17] = {static_cast<double>(f.sums[w])};
      for (unsigned k = 0; k < depth; ++k) addends[k + 1] = a[g + w / 2 * 8][k] * b[k][2 * t + w % 2];
      f.sums[w] = sumOf(addends, depth + 1);
    }
  }
}

bool isMultiply(Collective kind) { return kind == Collective::multiplyTf32 || kind == Collective::multiplyHalf; }

/// The lane that a shuffle reads, by the rules of PTX's shfl: beyond its section, a lane reads itself.
unsigned sourceOf(Collective kind, unsigned lane, int argument, int width) {
  const int me = static_cast<int>(lane), section = me & ~(width - 1), last = section + width - 1;
  int source = me;
  switch (kind) {
    case Collective::shuffle: source = section + (argument & (width - 1)); break;
    case Collective::shuffleUp: source = me - argument >= section ? me - argument : me; break;
    case Collective::shuffleDown: source = me + argument <= last ? me + argument : me; break;
    case Collective::shuffleXor: source = (me ^ argument) <= last ? me ^ argument : me; break;
    default: break;
  }
  return static_cast<unsigned>(source);
}

}  // namespace

int64_t switches() { return switchCount; }

Unwatched::Unwatched() {
#if defined(HEBB_EMULATION_TSAN)
  AnnotateIgnoreReadsBegin(__FILE__, __LINE__);
  AnnotateIgnoreWritesBegin(__FILE__, __LINE__);
#endif
}
Unwatched::~Unwatched() {
#if defined(HEBB_EMULATION_TSAN)
  AnnotateIgnoreWritesEnd(__FILE__, __LINE__);
  AnnotateIgnoreReadsEnd(__FILE__, __LINE__);
#endif
}

cudaError_t runGrid(const Grid& asked, Order how, uint64_t seed, const std::function<void()>& thread,
                    std::string* report) {
  grid = &asked;
  body = &thread;
  order = how;
  randomState = seed * 0x9e3779b97f4a7c15u + 1;
  failed = false;
  gridDim = asked.blocks;
  blockDim = asked.threads;
  threadCount = asked.threads.x * asked.threads.y * asked.threads.z;
  for (unsigned i = 0; i < threadCount; ++i) {
    Thread& t = threads[i];
    t.number = static_cast<uint16_t>(i);
    t.lane = static_cast<uint8_t>(i % kWarp);
    t.warp = static_cast<uint8_t>(i / kWarp);
    t.index = {i % blockDim.x, i / blockDim.x % blockDim.y, i / (blockDim.x * blockDim.y)};
  }
#if defined(HEBB_EMULATION_TSAN)
  hostContext = __tsan_get_current_fiber();
  for (auto& half : contexts) {
    for (unsigned i = 0; i < threadCount; ++i) {
      if (!half[i]) half[i] = __tsan_create_fiber(0);
    }
  }
#endif
  release(HEBB_ORDER(launchOrder));
  const uint64_t blocks = uint64_t{gridDim.x} * gridDim.y * gridDim.z;
  // In random order: a walk over all blocks with a stride that has no divisor in common with their number.
  uint64_t stride = 1, at = 0;
  if (order == Order::random) {
    const auto divisor = [](uint64_t a, uint64_t b) {
      while (b) {
        const uint64_t rest = a % b;
        a = b;
        b = rest;
      }
      return a;
    };
    for (stride = random() % blocks + 1; divisor(stride, blocks) != 1; ++stride) {
    }
    at = random() % blocks;
  }
  for (uint64_t i = 0; i < blocks && !failed; ++i) {
    const uint64_t b = order == Order::forward ? i : order == Order::reversed ? blocks - 1 - i : at;
    at = (at + stride) % blocks;
    blockIdx = {static_cast<unsigned>(b % gridDim.x), static_cast<unsigned>(b / gridDim.x % gridDim.y),
                static_cast<unsigned>(b / gridDim.x / gridDim.y)};
    runBlock();
  }
  acquire(HEBB_ORDER(endOrder));
  grid = nullptr;
  if (!failed) return cudaSuccess;
  clearAway();
  *report = failureText;
  return failure;
}

void fault(cudaError_t error, const char* format, ...) {
  va_list arguments;
  va_start(arguments, format);
  char words[1536];
  vsnprintf(words, sizeof words, format, arguments);
  va_end(arguments);
  if (!grid) {
    fprintf(stderr, "emulation: outside of a kernel: %s\n", words);
    abort();
  }
  if (self) {
    snprintf(failureText, sizeof failureText, "%s, block (%u, %u, %u), thread (%u, %u, %u): %s", grid->operation,
             blockIdx.x, blockIdx.y, blockIdx.z, self->index.x, self->index.y, self->index.z, words);
  } else {
    snprintf(failureText, sizeof failureText, "%s, block (%u, %u, %u): %s", grid->operation, blockIdx.x, blockIdx.y,
             blockIdx.z, words);
  }
  failed = true;
  failure = error;
  self = nullptr;
  become(nullptr);
  Fiber left;  // nobody comes back to this stack
  Fiber::change(left, host);
  abort();
}

int barrier(Barrier kind, int predicate, const char* file, int line) {
  Thread* const me = self;
  auto& point = meetingPoint;
  if (live != threadCount)
    fault(cudaErrorLaunchFailure,
          "the thread waits at the barrier in %s:%d, which others of its block never reach: they have ended", file,
          line);
  if (!point.arrived) {
    point.file = file;
    point.line = line;
    point.kind = kind;
    point.gathered = kind == Barrier::all;
  } else if (point.kind != kind || !samePlace(point.file, point.line, file, line)) {
    fault(cudaErrorLaunchFailure, "threads of one block wait at different barriers, in %s:%d and %s:%d", point.file,
          point.line, file, line);
  }
  const int yes = predicate != 0;
  point.gathered = kind == Barrier::count ? point.gathered + yes
                   : kind == Barrier::all ? point.gathered & yes
                                          : point.gathered | yes;
  [[maybe_unused]] const unsigned parity = point.parity;
  release(HEBB_ORDER(barrierOrder[set_][parity]));
  if (++point.arrived == threadCount) {
    point.arrived = 0;
    point.parity ^= 1;
    point.result = point.gathered;
    if (order == Order::random) me->state = State::atBarrier;
    for (unsigned k = 0; k < threadCount; ++k) {
      const unsigned i = order == Order::reversed ? threadCount - 1 - k : k;
      if (threads[i].state == State::atBarrier) push(i);
    }
    if (order == Order::random) wait();
  } else {
    me->state = State::atBarrier;
    me->file = file;
    me->line = line;
    wait();
  }
  acquire(HEBB_ORDER(barrierOrder[set_][parity]));
  return point.result;
}

Word collective(Collective kind, unsigned mask, Word word, int argument, int width, const char* file, int line) {
  Thread* const me = self;
  const unsigned lane = me->lane, base = static_cast<unsigned>(me->warp) * kWarp;
  if (!(mask >> lane & 1))
    fault(cudaErrorLaunchFailure, "the warp primitive in %s:%d is called by lane %u, which its mask %08x does not name",
          file, line, lane, mask);
  // The last warp of a block may have fewer lanes. Those that never were are nobody's concern, unless somebody reads
  // them.
  mask &= threadCount - base >= kWarp ? ~0u : (1u << (threadCount - base)) - 1;
  if (const unsigned gone = mask & ~lanesLeft[me->warp]) {
    fault(cudaErrorLaunchFailure, "the warp primitive in %s:%d names lanes that have ended (%08x of its mask %08x)",
          file, line, gone, mask);
  }
  if (isMultiply(kind) && mask != ~0u)
    fault(cudaErrorLaunchFailure, "mma.sync in %s:%d in a warp of fewer than 32 lanes", file, line);
  if (width < 1 || width > 32 || (width & (width - 1)))
    fault(cudaErrorLaunchFailure, "the shuffle in %s:%d has the width %d", file, line, width);

  Meeting*& slot = meetings[me->warp][__builtin_ctz(mask)];
  Meeting* const m = slot ? slot : freeMeetings;
  if (!slot) {
    freeMeetings = m->next;  // there is one: a lane is in one meeting at a time
    slot = m;
    m->mask = mask;
    m->arrived = 0;
    m->leaving = mask;
    m->kind = kind;
    m->file = file;
    m->line = line;
  } else if (m->mask != mask || m->kind != kind || !samePlace(m->file, m->line, file, line)) {
    fault(cudaErrorLaunchFailure,
          "lanes of one warp wait in different warp primitives, in %s:%d (mask %08x) and %s:%d (mask %08x)", m->file,
          m->line, m->mask, file, line, mask);
  }
  m->words[lane] = word;
  m->arrived |= 1u << lane;
  if (kind == Collective::barrier) release(&m->order);
  if (m->arrived == mask) {
    slot = nullptr;
    if (isMultiply(kind)) multiplyAll(*m);
    else if (kind != Collective::barrier && kind != Collective::match && !isShuffle(kind))
      m->result = {combine(*m), false};
    for (unsigned k = 0; k < kWarp; ++k) {
      const unsigned l = order == Order::reversed ? kWarp - 1 - k : k;
      if ((mask >> l & 1) && (l != lane || order == Order::random)) push(base + l);
    }
    if (order == Order::random) wait();
  } else {
    me->state = State::inWarp;
    me->file = file;
    me->line = line;
    wait();
  }
  if (kind == Collective::barrier) acquire(&m->order);  // shuffles and votes do not order memory, as on a GPU
  Word result = m->result;
  if (isShuffle(kind)) {
    const unsigned source = sourceOf(kind, lane, argument, width);
    if (!(mask >> source & 1))
      fault(cudaErrorLaunchFailure, "the shuffle in %s:%d reads lane %u, which does not take part (mask %08x)", file,
            line, source, mask);
    result = m->words[source];
  } else if (kind == Collective::match) {
    unsigned equal = 0;
    for (unsigned l = 0; l < kWarp; ++l)
      equal |= static_cast<unsigned>((mask >> l & 1) && m->words[l].bits == word.bits) << l;
    result = {equal, false};
  }
  m->leaving &= ~(1u << lane);
  if (!m->leaving) {
    m->next = freeMeetings;
    freeMeetings = m;
  }
  return result;
}

uint32_t tf32Of(float x) {
  uint32_t bits;
  memcpy(&bits, &x, sizeof bits);
  if (!std::isfinite(x)) return x == x ? bits : bits | 0x00400000u;
  return (bits + 0x1000u) & ~0x1fffu;  // a carry goes into the exponent, and beyond the largest number to infinity
}

uint32_t halfOf(float x) {
  const uint32_t sign = std::signbit(x) ? 0x8000u : 0;
  if (x != x) return 0x7fffu;
  const double size = fabs(static_cast<double>(x));
  if (size >= 65520) return sign | 0x7c00u;
  if (size == 0) return sign;
  const int exponent = ilogb(size) < -14 ? -14 : ilogb(size);
  // Of 2^(exponent - 10); 1024 and above but for subnormal ones.
  const auto units = static_cast<uint32_t>(nearbyint(ldexp(size, 10 - exponent)));
  return sign | (static_cast<uint32_t>(exponent + 14) * 1024 + units);
}

void multiply(Operands operands, float4& sums, const uint4& a, const uint2& b, const char* file, int line) {
  const uint32_t wordsOfA[4] = {a.x, a.y, a.z, a.w}, wordsOfB[2] = {b.x, b.y};
  float results[4] = {sums.x, sums.y, sums.z, sums.w};
  const Fragments mine{wordsOfA, wordsOfB, results};
  const Word word{reinterpret_cast<uint64_t>(&mine), false};
  collective(operands == Operands::half ? Collective::multiplyHalf : Collective::multiplyTf32, ~0u, word, 0, 32, file,
             line);
  sums = make_float4(results[0], results[1], results[2], results[3]);
}

void* sharedVariable(const void* key, size_t bytes, size_t alignment) {
  for (unsigned i = 0; i < sharedCount; ++i) {
    if (sharedVariables[i].key == key) return sharedVariables[i].memory;
  }
  if (sharedCount == kShared) fault(cudaErrorLaunchOutOfResources, "more than %u shared variables", kShared);
  sharedBytes += bytes;
  if (sharedBytes > 48 << 10)
    fault(cudaErrorLaunchOutOfResources, "%zu bytes of static shared memory; 48 KiB is all there is", sharedBytes);
  if (sharedBytes + grid->dynamicShared > grid->sharedLimit) {
    fault(cudaErrorLaunchOutOfResources, "%zu bytes of shared memory; a block of this GPU has %zu",
          sharedBytes + grid->dynamicShared, grid->sharedLimit);
  }
  Unwatched unwatched;
  void* const memory = unwritten(bytes, alignment);
  sharedVariables[sharedCount++] = {key, memory, bytes};
  return memory;
}

void* sharedDynamic() {
  if (!dynamicShared) fault(cudaErrorLaunchFailure, "dynamic shared memory is used, and the launch asks for none");
  return dynamicShared;
}

void fence() {
  acquire(HEBB_ORDER(fenceOrder));
  release(HEBB_ORDER(fenceOrder));
}

void copyAsync(void* shared, const void* global, int bytes, int valid) {
  const auto misaligned = [bytes](const void* p) {
    return reinterpret_cast<uintptr_t>(p) % static_cast<uintptr_t>(bytes) != 0;
  };
  if (bytes != 4 && bytes != 8 && bytes != 16) fault(cudaErrorLaunchFailure, "cp.async of %d bytes", bytes);
  if (valid < 0 || valid > bytes) fault(cudaErrorLaunchFailure, "cp.async of %d bytes that reads %d", bytes, valid);
  if (misaligned(shared) || misaligned(global))
    fault(cudaErrorMisalignedAddress, "cp.async of %d bytes at an address that is not a multiple of it", bytes);
  Copies& mine = copies[self->number];
  if (mine.count == kCopies) fault(cudaErrorLaunchFailure, "more than %u cp.async under way in one thread", kCopies);
  memset(shared, kUnwritten, static_cast<size_t>(bytes));  // both sanitizers see this as a write of the thread
  mine.list[mine.count++] = {shared, global, bytes, valid, mine.group};
}

void commitCopies() { ++copies[self->number].group; }

void waitForCopies(int groups) {
  Copies& mine = copies[self->number];
  unsigned done = 0, kept = 0;
  for (; done < mine.count && mine.list[done].group < mine.group - groups; ++done) {
    const auto& copy = mine.list[done];
    memset(copy.to, 0, static_cast<size_t>(copy.bytes));
    memcpy(copy.to, copy.from, static_cast<size_t>(copy.valid));
  }
  for (; done < mine.count; ++done) mine.list[kept++] = mine.list[done];
  mine.count = kept;
}

}  // namespace hebb::emulation

#if !defined(HEBB_EMULATION_UBSAN)
// The kernels are compiled with -fsanitize=alignment in every build, and this is what the compiler calls where an
// address does not fit its type. (Where UndefinedBehaviorSanitizer is in the build, its own function of this name ends
// the process.)
namespace {
struct TypeDescriptor {
  uint16_t kind, info;
  char name[1];
};
struct TypeMismatch {
  const char* file;
  uint32_t line, column;
  const TypeDescriptor* type;
  unsigned char logAlignment, access;
};
}  // namespace

extern "C" [[noreturn]] void __ubsan_handle_type_mismatch_v1_abort(TypeMismatch* at, uintptr_t address) {
  hebb::emulation::fault(cudaErrorMisalignedAddress, "the address %#zx of a %s in %s:%u is not a multiple of %u",
                         static_cast<size_t>(address), at->type->name, at->file, at->line, 1u << at->logAlignment);
}
#endif
