// A thread's range of chunks is one 64-bit word, from which all threads take by compare-and-swap. Where a neighbour
// keeps putting helpers aside, loops are timed alone and together, in windows of 10 ms, and the faster way goes on.
#include "team.h"

#include <chrono>
#include <utility>

// The standard library of GCC 10 cannot wait on atomics. HEBB_FUTEX: for tests, in place of one that can.
#if defined(HEBB_FUTEX) || (defined(__linux__) && !defined(__cpp_lib_atomic_wait))
#define HEBB_WAITS_BY_FUTEX 1
#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <climits>
#endif

namespace hebb::cpu {
namespace {

void pauseOnce() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

/// Sleeps while `word` is what was `seen` of it. May return before that has changed.
#if defined(HEBB_WAITS_BY_FUTEX)
static_assert(sizeof(std::atomic<int32_t>) == sizeof(int32_t) && std::atomic<int32_t>::is_always_lock_free);
void sleepWhile(std::atomic<int32_t>& word, int32_t seen) {
  syscall(SYS_futex, &word, FUTEX_WAIT_PRIVATE, seen, nullptr, nullptr, 0);
}
void wakeAll(std::atomic<int32_t>& word) {
  syscall(SYS_futex, &word, FUTEX_WAKE_PRIVATE, INT_MAX, nullptr, nullptr, 0);
}
#else
void sleepWhile(std::atomic<int32_t>& word, int32_t seen) { word.wait(seen); }
void wakeAll(std::atomic<int32_t>& word) { word.notify_all(); }
#endif

/// Spins for about `microseconds` until done() holds; says whether it does.
template <class Done>
bool spin(const Done& done, int microseconds) {
  for (int i = 0; i < 64; ++i) {
    if (done()) return true;
    pauseOnce();
  }
  const auto end = std::chrono::steady_clock::now() + std::chrono::microseconds(microseconds);
  do {
    for (int i = 0; i < 32; ++i) {
      if (done()) return true;
      pauseOnce();
    }
  } while (std::chrono::steady_clock::now() < end);
  return done();
}

// Longer than the gap between two loops of a training step, shorter than a scheduler's slice.
constexpr int kWorkerSpin = 50, kCallerSpin = 30;

// A helper that keeps the caller waiting for this long was put aside by the system.
constexpr auto kStall = std::chrono::microseconds(500);
// How long a way of running is tried before it is judged, and how many such times pass before the other one is tried
// again.
constexpr auto kWindow = std::chrono::milliseconds(10);
constexpr int kPatience = 16;
// One stall may be an interrupt or a short visitor. That many windows in a row with stalls are a neighbour who stays.
constexpr int kSuspicion = 3;

}  // namespace

Team::Team(int threads) : size_(threads < 1 ? 1 : threads), ranges_(new Range[size_]) {
  threads_.reserve(size_ - 1);
  try {
    for (int rank = 1; rank < size_; ++rank) threads_.emplace_back([this, rank] { worker(rank); });
  } catch (...) {  // the system has no thread left: end those that started
    stop();
    throw;
  }
}

Team::~Team() { stop(); }

void Team::stop() {
  quit_.store(true);
  generation_.fetch_add(1);
  wakeAll(generation_);
  for (auto& thread : threads_) thread.join();
  threads_.clear();
}

void Team::run(int64_t chunks, const void* context, Call call) {
  const auto begin = Clock::now();
  int64_t chunk = 0;
  // Alone, but a loop that turns out long is for all.
  for (; mode_ == alone && chunk < chunks && Clock::now() - begin < kWindow; ++chunk) call(context, chunk, 0);
  const bool stalled = chunk < chunks && runTogether(chunk, chunks, context, call);
  choose(chunks, begin, stalled);
}

void Team::choose(int64_t chunks, Clock::time_point begin, bool stalled) {
  const auto end = Clock::now();
  windowChunks_ += chunks;
  windowTime_ += end - begin;
  windowStalled_ |= stalled;
  if (end - windowBegin_ < kWindow) return;
  rate_[mode_] = static_cast<double>(windowChunks_) / std::chrono::duration<double>(windowTime_).count();
  ++windows_;
  bool change;
  if (mode_ == alone) {
    change = windows_ >= kPatience || rate_[together] > rate_[alone];
  } else {
    // Without stalls the helpers help: there is nothing to weigh.
    suspicion_ = windowStalled_ ? suspicion_ + 1 : 0;
    change = suspicion_ >= kSuspicion && (rate_[alone] == 0 || rate_[alone] > rate_[together] || windows_ >= kPatience);
  }
  if (change) {
    mode_ = mode_ == together ? alone : together;
    windows_ = 0;
  }
  windowBegin_ = end;
  windowTime_ = {};
  windowChunks_ = 0;
  windowStalled_ = false;
}

/// Says whether the caller had to wait for a helper that the system had put aside.
bool Team::runTogether(int64_t first, int64_t chunks, const void* context, Call call) {
  context_ = context;
  call_ = call;
  chunks_ = chunks;
  done_.store(first, std::memory_order_relaxed);
  const auto share = [&](int rank) { return static_cast<uint64_t>(first + (chunks - first) * rank / size_); };
  for (int rank = 0; rank < size_; ++rank)
    ranges_[rank].next.store(share(rank) << 32 | share(rank + 1), std::memory_order_release);
  generation_.fetch_add(1, std::memory_order_seq_cst);
  if (sleepers_.load(std::memory_order_seq_cst) > 0) wakeAll(generation_);

  work(0);

  const auto done = [&] { return done_.load(std::memory_order_acquire) == chunks_; };
  bool stalled = false;
  if (!spin(done, kCallerSpin)) {
    const auto begin = Clock::now();
    callerSleeps_.store(true, std::memory_order_seq_cst);
    for (;;) {
      const int32_t seen = finished_.load(std::memory_order_seq_cst);
      if (done()) break;
      sleepWhile(finished_, seen);
    }
    callerSleeps_.store(false, std::memory_order_relaxed);
    stalled = Clock::now() - begin > kStall;
  }
  if (failed_.load(std::memory_order_acquire)) {
    failed_.store(false, std::memory_order_relaxed);
    std::rethrow_exception(std::exchange(failure_, nullptr));
  }
  return stalled;
}

void Team::work(int rank) {
  for (int i = 0; i < size_; ++i) {
    auto& next = ranges_[(rank + i) % size_].next;
    for (uint64_t word = next.load(std::memory_order_acquire);;) {
      const uint64_t chunk = word >> 32, end = word & 0xFFFFFFFFu;
      if (chunk >= end) break;
      if (!next.compare_exchange_weak(word, word + (uint64_t{1} << 32), std::memory_order_acq_rel,
                                      std::memory_order_acquire))
        continue;
      // Taken: the loop cannot end before this chunk does, so its description stays.
      try {
        call_(context_, static_cast<int64_t>(chunk), rank);
      } catch (...) {
        if (!failed_.exchange(true)) failure_ = std::current_exception();
      }
      const int64_t chunks = chunks_;
      if (done_.fetch_add(1, std::memory_order_seq_cst) + 1 == chunks && rank != 0) {
        finished_.fetch_add(1, std::memory_order_seq_cst);
        if (callerSleeps_.load(std::memory_order_seq_cst)) wakeAll(finished_);
      }
      word = next.load(std::memory_order_acquire);
    }
  }
}

void Team::worker(int rank) {
  int32_t seen = 0;
  for (;;) {
    if (!spin([&] { return generation_.load(std::memory_order_acquire) != seen; }, kWorkerSpin)) {
      sleepers_.fetch_add(1, std::memory_order_seq_cst);
      while (generation_.load(std::memory_order_seq_cst) == seen) sleepWhile(generation_, seen);
      sleepers_.fetch_sub(1, std::memory_order_relaxed);
    }
    seen = generation_.load(std::memory_order_acquire);
    if (quit_.load()) return;
    work(rank);
  }
}

}  // namespace hebb::cpu
