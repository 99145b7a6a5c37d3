// Stacks are exchanged by a few lines of assembly on x86-64 and arm64 with ELF, by ucontext elsewhere. Below a stack
// lie pages that fault, and AddressSanitizer is told of every switch.
#include "fiber.h"

#include <sys/mman.h>

#include <cstdint>
#include <new>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif

// What a function must keep for its caller is pushed, the stack pointer is exchanged, and the other stack's is popped.
#if defined(__x86_64__) && defined(__ELF__)
extern "C" void hebb_emulation_switch(void** from, void* to);
extern "C" void hebb_emulation_begin();
asm(R"(
.text
.hidden hebb_emulation_switch
.globl hebb_emulation_switch
.type hebb_emulation_switch,@function
hebb_emulation_switch:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
.size hebb_emulation_switch,.-hebb_emulation_switch
.hidden hebb_emulation_begin
.globl hebb_emulation_begin
.type hebb_emulation_begin,@function
hebb_emulation_begin:
  movq %r12, %rdi
  call *%r13
  ud2
.size hebb_emulation_begin,.-hebb_emulation_begin
)");
#elif defined(__aarch64__) && defined(__ELF__)
extern "C" void hebb_emulation_switch(void** from, void* to);
extern "C" void hebb_emulation_begin();
asm(R"(
.text
.hidden hebb_emulation_switch
.globl hebb_emulation_switch
.type hebb_emulation_switch,%function
hebb_emulation_switch:
  sub sp, sp, #160
  stp x19, x20, [sp, #0]
  stp x21, x22, [sp, #16]
  stp x23, x24, [sp, #32]
  stp x25, x26, [sp, #48]
  stp x27, x28, [sp, #64]
  stp x29, x30, [sp, #80]
  stp d8, d9, [sp, #96]
  stp d10, d11, [sp, #112]
  stp d12, d13, [sp, #128]
  stp d14, d15, [sp, #144]
  mov x9, sp
  str x9, [x0]
  mov sp, x1
  ldp x19, x20, [sp, #0]
  ldp x21, x22, [sp, #16]
  ldp x23, x24, [sp, #32]
  ldp x25, x26, [sp, #48]
  ldp x27, x28, [sp, #64]
  ldp x29, x30, [sp, #80]
  ldp d8, d9, [sp, #96]
  ldp d10, d11, [sp, #112]
  ldp d12, d13, [sp, #128]
  ldp d14, d15, [sp, #144]
  add sp, sp, #160
  ret
.size hebb_emulation_switch,.-hebb_emulation_switch
.hidden hebb_emulation_begin
.globl hebb_emulation_begin
.type hebb_emulation_begin,%function
hebb_emulation_begin:
  mov x0, x19
  blr x20
  brk #0
.size hebb_emulation_begin,.-hebb_emulation_begin
)");
#else
#define HEBB_EMULATION_UCONTEXT
#include <ucontext.h>
#endif

namespace hebb::emulation {
namespace {

constexpr size_t kStack = 256 << 10;  // the system gives pages when they are touched
constexpr size_t kGuard = 64 << 10;   // below the stack: who runs over it faults

Fiber* previous = nullptr;  // who was left for the one that runs now; one operating-system thread at a time is here

}  // namespace

Fiber::Fiber(void (*main)(void*), void* argument) : main_(main), argument_(argument) {
  void* memory = mmap(nullptr, kStack + kGuard, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) throw std::bad_alloc();
  mprotect(memory, kGuard, PROT_NONE);
  stack_ = static_cast<char*>(memory) + kGuard;
  bottom_ = stack_;
  size_ = kStack;
  restart();
}

Fiber::~Fiber() {
#if defined(HEBB_EMULATION_UCONTEXT)
  delete static_cast<ucontext_t*>(context_);
#endif
  if (stack_) munmap(stack_ - kGuard, kStack + kGuard);
}

#if defined(HEBB_EMULATION_UCONTEXT)
namespace {
Fiber* beginning = nullptr;
}
#endif

void Fiber::restart() {
#if defined(__SANITIZE_ADDRESS__)
  __asan_unpoison_memory_region(stack_, kStack);
  shadow_ = nullptr;
#endif
#if defined(HEBB_EMULATION_UCONTEXT)
  if (!context_) context_ = new ucontext_t;
  auto* context = static_cast<ucontext_t*>(context_);
  getcontext(context);
  context->uc_stack.ss_sp = stack_;
  context->uc_stack.ss_size = kStack;
  context->uc_link = nullptr;
  makecontext(context, +[] { beginning->main_(beginning->argument_); }, 0);
#else
  void** top = reinterpret_cast<void**>(stack_ + kStack);
  auto* main = reinterpret_cast<void*>(main_);
  auto* begin = reinterpret_cast<void*>(&hebb_emulation_begin);
#if defined(__x86_64__)
  top -= 9;  // r15 r14 r13 r12 rbx rbp, the return address, and two words: the stack is aligned where main() is called
  for (int i = 0; i < 9; ++i) top[i] = nullptr;
  top[2] = main;
  top[3] = argument_;
  top[6] = begin;
#else
  top -= 20;
  for (int i = 0; i < 20; ++i) top[i] = nullptr;
  top[0] = argument_;
  top[1] = main;
  top[11] = begin;
#endif
  context_ = top;
#endif
}

void Fiber::change(Fiber& from, Fiber& to) {
  previous = &from;
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_start_switch_fiber(&from.shadow_, to.bottom_, to.size_);
#endif
#if defined(HEBB_EMULATION_UCONTEXT)
  if (!from.context_) from.context_ = new ucontext_t;
  beginning = &to;
  swapcontext(static_cast<ucontext_t*>(from.context_), static_cast<ucontext_t*>(to.context_));
#else
  hebb_emulation_switch(&from.context_, to.context_);
#endif
  from.entered();
}

void Fiber::entered() {
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_finish_switch_fiber(shadow_, &previous->bottom_, &previous->size_);
#endif
}

}  // namespace hebb::emulation
