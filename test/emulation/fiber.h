// A stack that can be left and entered again: what the threads of a block run on. Switches between two of them take
// some nanoseconds.
#pragma once

#include <cstddef>

namespace hebb::emulation {

class Fiber {
 public:
  /// The calling operating-system thread, to come back to.
  Fiber() = default;
  /// Runs main(argument), which never returns, when it is first switched to.
  Fiber(void (*main)(void*), void* argument);
  ~Fiber();
  Fiber(const Fiber&) = delete;
  Fiber& operator=(const Fiber&) = delete;

  /// Leaves `from`, which must be running; returns when somebody switches back to it.
  static void change(Fiber& from, Fiber& to);
  /// Called first by main().
  void entered();
  /// Forgets what the fiber was doing: it begins with main() again. Destructors on its stack are not run.
  void restart();

 private:
  void (*main_)(void*) = nullptr;
  void* argument_ = nullptr;
  char* stack_ = nullptr;
  void* context_ = nullptr;  // the stack pointer, or a ucontext_t
  // For AddressSanitizer: its own bookkeeping of the stack, and where the stack is.
  void* shadow_ = nullptr;
  const void* bottom_ = nullptr;
  size_t size_ = 0;
};

}  // namespace hebb::emulation
