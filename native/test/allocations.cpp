#include "test/allocations.h"

#include <atomic>
#include <cstdlib>
#include <new>

namespace {

std::atomic<int64_t> asked{0};

}  // namespace

int64_t nichelm::test::allocations() { return asked.load(std::memory_order_relaxed); }

// For the whole test program: every new is counted. (The deletes that go with it are the library's: they call free.)
void* operator new(size_t bytes) {
  asked.fetch_add(1, std::memory_order_relaxed);
  if (void* memory = std::malloc(bytes ? bytes : 1)) return memory;
  throw std::bad_alloc();
}
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, size_t) noexcept { std::free(memory); }
