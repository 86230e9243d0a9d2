// A stack of its own for one emulated thread, and the switch to it and back. x86-64 only.
#pragma once
#include <cstddef>

namespace nichelm::emulator {

class Fiber {
 public:
  static constexpr size_t kStack = 256 << 10;

  Fiber();
  ~Fiber();
  Fiber(const Fiber&) = delete;

  // Sets the fiber to the start of body, which must never return: its last act is leave(true).
  void start(void (*body)());
  // The scheduler runs the fiber until that calls leave.
  void enter();
  void leave(bool for_good = false);

 private:
  char* stack_;
  void* at_ = nullptr;         // its stack pointer while it does not run
  void* shadow_ = nullptr;     // AddressSanitizer's record of it
};

}  // namespace nichelm::emulator
