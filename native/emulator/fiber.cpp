#include "emulator/fiber.h"

#include <sys/mman.h>

#include <cstdint>
#include <new>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif

// Keeps the registers that a call must keep on the stack that is left, and takes them from the one that is entered.
extern "C" void nichelm_switch_stack(void** from, void* to);
asm(R"(.text
.globl nichelm_switch_stack
.hidden nichelm_switch_stack
.type nichelm_switch_stack,@function
nichelm_switch_stack:
  pushq %rbp; pushq %rbx; pushq %r12; pushq %r13; pushq %r14; pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15; popq %r14; popq %r13; popq %r12; popq %rbx; popq %rbp
  ret
.size nichelm_switch_stack,.-nichelm_switch_stack
)");

namespace nichelm::emulator {
namespace {

void* scheduler = nullptr;  // its stack pointer while a fiber runs
void (*begin_with)() = nullptr;
#if defined(__SANITIZE_ADDRESS__)
const void* scheduler_stack = nullptr;
size_t scheduler_size = 0;
#endif

void begin() {
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_finish_switch_fiber(nullptr, &scheduler_stack, &scheduler_size);
#endif
  begin_with();
}

}  // namespace

Fiber::Fiber() {
  void* stack = mmap(nullptr, kStack, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (stack == MAP_FAILED) throw std::bad_alloc();
  stack_ = static_cast<char*>(stack);
}

Fiber::~Fiber() { munmap(stack_, kStack); }

void Fiber::start(void (*body)()) {
#if defined(__SANITIZE_ADDRESS__)
  __asan_unpoison_memory_region(stack_, kStack);  // what an earlier life left
#endif
  begin_with = body;
  shadow_ = nullptr;
  // As if begin had been called: its stack pointer must be 8 more than a multiple of 16 when it starts.
  auto* top = reinterpret_cast<void**>(stack_ + kStack - 72);
  *top = nullptr;
  *--top = reinterpret_cast<void*>(&begin);
  for (int registers = 0; registers < 6; ++registers) *--top = nullptr;
  at_ = top;
}

void Fiber::enter() {
#if defined(__SANITIZE_ADDRESS__)
  void* shadow = nullptr;
  __sanitizer_start_switch_fiber(&shadow, stack_, kStack);
#endif
  nichelm_switch_stack(&scheduler, at_);
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_finish_switch_fiber(shadow, nullptr, nullptr);
#endif
}

void Fiber::leave([[maybe_unused]] bool for_good) {
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_start_switch_fiber(for_good ? nullptr : &shadow_, scheduler_stack, scheduler_size);
#endif
  nichelm_switch_stack(&at_, scheduler);
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_finish_switch_fiber(shadow_, &scheduler_stack, &scheduler_size);
#endif
}

}  // namespace nichelm::emulator
