// The pool: every thread runs each job once, what a task throws reaches the caller, and many short jobs in a row end.
#include <cstdlib>
#include <cstring>
#include <stdexcept>
#include <string>

#include "runtime/cpu.h"
#include "test/test.h"

using namespace nichelm;

TEST(pool_runs_each_job_on_every_thread) {
  for (int threads = 1; threads <= 8; ++threads) {
    Pool pool(threads);
    std::vector<int64_t> ran(static_cast<size_t>(threads));
    for (int job = 0; job < 2000; ++job) pool.run([](void* context, int thread) { ++(*static_cast<std::vector<int64_t>*>(context))[static_cast<size_t>(thread)]; }, &ran);
    for (const int64_t times : ran) EXPECT(times == 2000, std::to_string(threads) + " threads: a thread ran " + std::to_string(times) + " of 2000 jobs");
  }
}

// Only where it is asked for: neighbouring panels packed with whole registers whose ends lie across each other, which scripts/sanitize wants to be told of.
TEST(pool_race_on_purpose) {
  if (!std::getenv("NICHELM_TEST_RACE")) return;
  typedef float Register __attribute__((vector_size(64)));
  constexpr int64_t kWidth = 14, kPanels = 1000;
  std::vector<float> panels(kPanels * kWidth + 2);
  Cpu cpu(2, Isa::portable);
  cpu.split(kPanels, [&](int64_t first, int64_t last) {
    for (int64_t i = first; i < last; ++i) {
      const Register all = Register{} + static_cast<float>(i);
      std::memcpy(panels.data() + i * kWidth, &all, sizeof all);
    }
  });
  EXPECT(panels.back() == kPanels - 1, "the last panel is the last that is written");
}

TEST(pool_throws_what_a_task_throws) {
  for (int threads = 1; threads <= 8; ++threads)
    for (int thrower = 0; thrower < threads; ++thrower) {
      Pool pool(threads);
      std::string caught;
      try {
        pool.run([](void* context, int thread) { if (thread == *static_cast<int*>(context)) throw std::runtime_error("from " + std::to_string(thread)); }, &thrower);
      } catch (const std::runtime_error& e) {
        caught = e.what();
      }
      EXPECT(caught == "from " + std::to_string(thrower), "threw '" + caught + "'");
      std::atomic<int> ran{0};
      pool.run([](void* context, int) { ++*static_cast<std::atomic<int>*>(context); }, &ran);
      EXPECT(ran == threads, "the pool must be of use after an exception");
    }
}

TEST(cpu_split_and_each_cover_every_count_once) {
  for (int threads = 1; threads <= 8; ++threads) {
    Cpu cpu(threads, Isa::portable);
    for (int64_t count = 0; count <= 20; ++count) {
      std::vector<int> split(static_cast<size_t>(count)), each(static_cast<size_t>(count));
      cpu.split(count, [&](int64_t first, int64_t last) { for (int64_t i = first; i < last; ++i) ++split[static_cast<size_t>(i)]; });
      cpu.each(count, [&](int64_t i, int) { ++each[static_cast<size_t>(i)]; });
      const std::vector<int> once(static_cast<size_t>(count), 1);
      EXPECT(split == once && each == once, std::to_string(threads) + " threads, " + std::to_string(count) + " pieces");
    }
  }
}
