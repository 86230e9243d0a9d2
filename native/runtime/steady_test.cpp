// A program that has run once runs again without an allocation by new and without starting a thread. (Scratch memory, which the device counts itself, may
// still grow where a thread gets a task for the first time.)
#include <atomic>
#include <cstdlib>
#include <filesystem>
#include <new>

#include "runtime/program.h"
#include "test/test.h"

namespace {

std::atomic<int64_t> asked{0};

int64_t threads_of_process() {
  int64_t count = 0;
  std::error_code none;  // where the system does not tell, there are 0 before and after
  for (const auto& task : std::filesystem::directory_iterator("/proc/self/task", none)) count += task.is_directory();
  return count;
}

}  // namespace

// For the whole test program: every new is counted. (The deletes that go with it are the library's: they call free.)
void* operator new(size_t bytes) {
  asked.fetch_add(1, std::memory_order_relaxed);
  if (void* memory = std::malloc(bytes ? bytes : 1)) return memory;
  throw std::bad_alloc();
}
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, size_t) noexcept { std::free(memory); }

using namespace nichelm;

TEST(program_allocates_nothing_and_starts_no_thread_in_a_step) {
  // Products large enough for all threads: with a GELU, and the gradient of a weight with few tiles and a long k; a norm of rows and one of everything.
  const std::string lines =
      "nichelm-program 1\n"
      "fill y=0:f32:512,512 value=0.01\n"
      "matmul a=0:f32:512,512 b=0:f32:512,512 bias=- gelu_of=- residual=- c=1048576:f32:512,512 pre=2097152:f32:512,512 transpose_a=0 transpose_b=1 gelu=1\n"
      "matmul_accumulate a=0:f32:4096,64 b=1048576:f32:4096,64 c=3145728:f32:64,64 transpose_a=1 transpose_b=0\n"
      "layer_norm x=1048576:f32:512,512 gain=0:f32:512 bias=0:f32:512 y=2097152:f32:512,512 mean=3211264:f32:512 scale=3215360:f32:512 epsilon=1e-5\n"
      "global_norm gradient=0:f32:262144 squares=- norm=3219456:f32:1 clip=3219520:f32:1 limit=1\n";
  for (const int isa : test::isas()) {
    const Arena arena(4 << 20);
    Cpu cpu(3, static_cast<Isa>(isa));
    const Program program(lines, arena, cpu.isa());
    program.run(cpu);
    const int64_t threads = threads_of_process(), before = asked;
    for (int step = 0; step < 5; ++step) program.run(cpu);
    const int64_t times = asked - before;
    EXPECT(times == 0, std::string(name_of(cpu.isa())) + ": asked for memory " + std::to_string(times) + " times");
    EXPECT(threads_of_process() == threads, std::string(name_of(cpu.isa())) + ": there are other threads than before");
  }
  const int64_t before = asked;
  ::operator delete(::operator new(4));
  const bool counted = asked == before + 1;
  EXPECT(counted, "what is asked for is counted");
}
