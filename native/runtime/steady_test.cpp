// Programs that have run once run again without an allocation by new and without starting a thread; once the device has evened out what its threads hold,
// which the next run does, scratch memory stays as it is too. That no kernel of any op asks for memory, every test of an op checks (test/devices.h).
#include <filesystem>
#include <new>

#include "runtime/program.h"
#include "test/allocations.h"
#include "test/test.h"

using namespace nichelm;

namespace {

struct Step {
  const char* name;
  int64_t bytes;
  const char *micro, *update;
};
#include "cuda/trajectory.inc"

int64_t threads_of_process() {
  int64_t count = 0;
  std::error_code none;  // where the system does not tell, there are 0 before and after
  for (const auto& task : std::filesystem::directory_iterator("/proc/self/task", none)) count += task.is_directory();
  return count;
}

// Runs the programs, one after the other, twice and then five times more.
void expect_steady(const std::string& what, const std::vector<std::string>& texts, int64_t bytes) {
  for (const int isa : test::isas()) {
    const Arena arena(bytes);
    Cpu cpu(3, static_cast<Isa>(isa));
    std::vector<Program> programs;
    for (const std::string& text : texts) programs.emplace_back(text, arena, cpu.isa());
    for (const Program& program : programs) program.run(cpu);
    const int64_t threads = threads_of_process(), before = test::allocations();
    for (const Program& program : programs) program.run(cpu);
    const int64_t held = cpu.scratch_bytes();
    for (int step = 0; step < 5; ++step)
      for (const Program& program : programs) program.run(cpu);
    const int64_t times = test::allocations() - before;
    const std::string where = what + ", " + name_of(cpu.isa());
    EXPECT(times == 0, where + ": asked for memory " + std::to_string(times) + " times");
    EXPECT(cpu.scratch_bytes() == held, where + ": scratch memory has grown from " + std::to_string(held) + " to " + std::to_string(cpu.scratch_bytes()) + " bytes");
    EXPECT(threads_of_process() == threads, where + ": there are other threads than before");
  }
}

}  // namespace

TEST(program_allocates_nothing_and_starts_no_thread_in_a_step) {
  // Products large enough for all threads: with a GELU, and the gradient of a weight with few tiles and a long k; a norm of rows and one of everything.
  expect_steady("large products",
                {"nichelm-program 1\n"
                 "fill y=0:f32:512,512 value=0.01\n"
                 "matmul a=0:f32:512,512 b=0:f32:512,512 bias=- gelu_of=- residual=- c=1048576:f32:512,512 pre=2097152:f32:512,512 transpose_a=0 transpose_b=1 gelu=1\n"
                 "matmul_accumulate a=0:f32:4096,64 b=1048576:f32:4096,64 c=3145728:f32:64,64 transpose_a=1 transpose_b=0\n"
                 "layer_norm x=1048576:f32:512,512 gain=0:f32:512 bias=0:f32:512 y=2097152:f32:512,512 mean=3211264:f32:512 scale=3215360:f32:512 epsilon=1e-5\n"
                 "global_norm gradient=0:f32:262144 squares=- norm=3219456:f32:1 clip=3219520:f32:1 limit=1\n"},
                4 << 20);
}

// Forward and backward pass, loss, norm and AdamW, as they are lowered for training.
TEST(training_step_allocates_nothing_and_starts_no_thread) {
  for (const Step& step : {kGpt2, kLlama}) expect_steady(std::string("a training step of ") + step.name, {step.micro, step.update}, step.bytes);
}

TEST(allocations_are_counted) {
  const int64_t before = test::allocations();
  void* volatile memory = ::operator new(4);  // which keeps the compiler from leaving both out
  ::operator delete(memory);
  const bool counted = test::allocations() == before + 1;
  EXPECT(counted, "what is asked for is counted");
}
