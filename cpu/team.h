// The threads of one CPU device. A parallel loop is cut into chunks; each thread takes its own range first and then
// helps the others, so a thread that the system has put aside delays the loop by one chunk at most. Threads wait by
// spinning briefly and then sleep: beside another busy process they give the processor away. When helpers are put aside
// in the middle of chunks, again and again, the caller tries to go on alone for a while and keeps to what turns out
// faster. What a chunk computes must not depend on who runs it.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <exception>
#include <memory>
#include <thread>
#include <vector>

namespace hebb::cpu {

/// Processors that this process may run on, and has the time of (usable_threads.cc).
int usableThreads();

class Team {
 public:
  explicit Team(int threads);
  ~Team();
  Team(const Team&) = delete;
  Team& operator=(const Team&) = delete;

  int size() const { return size_; }

  /// Runs body(chunk, rank) for every chunk in [0, chunks), rank in [0, size()). Called by one thread at a time. An
  /// exception thrown by a body is thrown again here, after the loop has ended.
  template <class Body>
  void parallel(int64_t chunks, const Body& body) {
    if (chunks <= 0) return;
    if (size_ == 1 || chunks == 1) {
      for (int64_t chunk = 0; chunk < chunks; ++chunk) body(chunk, 0);
      return;
    }
    run(chunks, &body,
        [](const void* context, int64_t chunk, int rank) { (*static_cast<const Body*>(context))(chunk, rank); });
  }

 private:
  using Clock = std::chrono::steady_clock;
  using Call = void (*)(const void* context, int64_t chunk, int rank);
  struct alignas(64) Range {
    std::atomic<uint64_t> next{0};  // next chunk in the upper half, end in the lower: taken by compare-exchange
  };

  void run(int64_t chunks, const void* context, Call call);
  bool runTogether(int64_t first, int64_t chunks, const void* context, Call call);
  void choose(int64_t chunks, Clock::time_point begin, bool stalled);
  void work(int rank);
  void worker(int rank);
  void stop();

  const int size_;
  std::unique_ptr<Range[]> ranges_;
  // Written by the caller before it opens the ranges; read only by a thread that has taken a chunk, hence stable.
  const void* context_ = nullptr;
  Call call_ = nullptr;
  int64_t chunks_ = 0;
  alignas(64) std::atomic<int64_t> done_{0};
  alignas(64) std::atomic<int32_t> generation_{0};
  std::atomic<int32_t> sleepers_{0};
  alignas(64) std::atomic<int32_t> finished_{0};  // loops whose last chunk was done by a worker
  std::atomic<bool> callerSleeps_{false};
  std::atomic<bool> quit_{false};
  std::exception_ptr failure_;
  std::atomic<bool> failed_{false};
  std::vector<std::thread> threads_;

  // How the caller runs loops, judged window by window; touched by the caller alone.
  enum Mode { together, alone };
  Mode mode_ = together;
  double rate_[2] = {0, 0};  // chunks a second in the last window of each mode
  int windows_ = 0;          // since the mode was last changed
  int suspicion_ = 0;        // windows together with stalls, in a row; kept while alone, so that one more leads back
  Clock::time_point windowBegin_{};
  Clock::duration windowTime_{};
  int64_t windowChunks_ = 0;
  bool windowStalled_ = false;
};

}  // namespace hebb::cpu
