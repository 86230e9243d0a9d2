#include "test/allocations.h"

#include <atomic>
#include <cstdlib>
#include <new>

namespace {

std::atomic<int64_t> asked{0};

}  // namespace

int64_t nichelm::test::allocations() { return asked.load(std::memory_order_relaxed); }

// For the whole test program: every new is counted. The one that does not throw (std::stable_sort asks for memory by it) is replaced too, because
// AddressSanitizer brings its own, whose memory no free may take.
void* operator new(size_t bytes, const std::nothrow_t&) noexcept {
  asked.fetch_add(1, std::memory_order_relaxed);
  return std::malloc(bytes ? bytes : 1);
}
void* operator new(size_t bytes) {
  if (void* memory = operator new(bytes, std::nothrow)) return memory;
  throw std::bad_alloc();
}
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, size_t) noexcept { std::free(memory); }
