// The pool: a job runs once on the threads that come to it, what a task throws reaches the caller, and many short jobs in a row end.
#include <atomic>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "runtime/cpu.h"
#include "test/test.h"

using namespace nichelm;

// A job that ends on no thread before all have come to it.
class Gathering {
 public:
  explicit Gathering(int threads) : threads_(threads) {}
  void gather() {
    ++came_;
    while (came_ < threads_) std::this_thread::yield();
  }

 private:
  const int threads_;
  std::atomic<int> came_{0};
};

TEST(pool_runs_each_job_once_on_the_caller_and_on_the_workers_that_come) {
  for (int threads = 1; threads <= 8; ++threads) {
    Pool pool(threads);
    std::vector<int64_t> ran(static_cast<size_t>(threads)), before;
    for (int job = 0; job < 2000; ++job) {
      before = ran;
      pool.run([](void* context, int thread) { ++(*static_cast<std::vector<int64_t>*>(context))[static_cast<size_t>(thread)]; }, &ran);
      bool once = ran[0] == job + 1;
      for (size_t t = 0; t < ran.size(); ++t) once = once && ran[t] - before[t] <= 1;
      EXPECT(once, std::to_string(threads) + " threads: the caller ran " + std::to_string(ran[0]) + " of " + std::to_string(job + 1) + " jobs, or a worker one twice");
    }
    // A job that lasts until all have come to it, which ends only if they do, and then on, so that a worker that has done it could come again.
    struct Job {
      Gathering all;
      std::vector<std::atomic<int>> ran;
    };
    for (int round = 0; round < 20; ++round) {
      Job job{Gathering(threads), std::vector<std::atomic<int>>(static_cast<size_t>(threads))};
      pool.run([](void* context, int thread) {
        Job& j = *static_cast<Job*>(context);
        ++j.ran[static_cast<size_t>(thread)];
        j.all.gather();
        for (int i = 0; thread == 0 && i < 1000; ++i) std::this_thread::yield();
      }, &job);
      for (const auto& times : job.ran) EXPECT(times == 1, std::to_string(threads) + " threads: one ran a job " + std::to_string(times) + " times");
    }
  }
}

TEST(cpu_does_each_task_once_whoever_comes) {
  for (int round = 0; round < 50; ++round) {
    Cpu cpu(4, Isa::portable);
    std::this_thread::sleep_for(std::chrono::milliseconds(round % 2));  // workers are not started yet, or asleep
    std::vector<int> times(64);
    cpu.each(64, [&](int64_t task, int) { ++times[static_cast<size_t>(task)]; });
    EXPECT(times == std::vector<int>(64, 1), "each task is done once, whoever is there");
  }
}

// The caller stays at its first task until the others have done all the rest.
TEST(cpu_threads_do_their_own_tasks_in_order_and_then_the_last_of_others) {
  for (const int threads : {2, 3, 5})
    for (int round = 0; round < 20; ++round) {
      Cpu cpu(threads);
      const int64_t tasks = 7 * threads + 1;
      Gathering all(threads);
      std::atomic<int64_t> done{0};
      std::vector<std::vector<int64_t>> taken(static_cast<size_t>(threads));
      cpu.each(tasks, [&](int64_t task, int thread) {
        auto& mine = taken[static_cast<size_t>(thread)];
        mine.push_back(task);
        if (mine.size() == 1) all.gather();
        while (thread == 0 && done < tasks - 1) std::this_thread::yield();
        ++done;
      });
      for (int64_t t = 0; t < threads; ++t) {
        const int64_t first = tasks * t / threads, end = tasks * (t + 1) / threads;
        const auto& mine = taken[static_cast<size_t>(t)];
        int64_t own = 0;  // how many of its own came first
        while (own < static_cast<int64_t>(mine.size()) && mine[static_cast<size_t>(own)] == first + own) ++own;
        bool right = own > 0 && own <= end - first && (t > 0 || mine.size() == 1);
        for (size_t i = static_cast<size_t>(own); i < mine.size(); ++i) right = right && (mine[i] < first || mine[i] >= end);
        EXPECT(right, std::to_string(threads) + " threads: not the tasks of thread " + std::to_string(t));
      }
      int64_t least = tasks;  // of the caller's tasks that the first worker took, one after the other
      for (const int64_t task : taken[1])
        if (task < tasks / threads) {
          EXPECT(task < least && task > 0, std::to_string(threads) + " threads: task " + std::to_string(task) + " of the caller's after " + std::to_string(least));
          least = task;
        }
    }
}

TEST(cpu_threads_have_equal_scratch) {
  Cpu cpu(4, Isa::portable);
  const auto nothing = [](int64_t, int) {};
  cpu.each(2, [&](int64_t task, int thread) { if (task) cpu.scratch(thread, 1 << 20, 1); });
  cpu.each(2, nothing);
  const int64_t held = cpu.scratch_bytes();
  EXPECT(held == 4 << 20, std::to_string(held) + " bytes");
  for (int round = 0; round < 20; ++round) cpu.each(8, [&](int64_t, int thread) { cpu.scratch(thread, 1 << 20, 1); });
  EXPECT(cpu.scratch_bytes() == held, "whichever threads have the tasks, none grows");
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
  struct Job {
    Gathering all;
    int thrower;
  };
  for (int threads = 1; threads <= 8; ++threads)
    for (int thrower = 0; thrower < threads; ++thrower) {
      Pool pool(threads);
      std::string caught;
      Job job{Gathering(threads), thrower};
      try {
        pool.run([](void* context, int thread) {
          Job& j = *static_cast<Job*>(context);
          j.all.gather();
          if (thread == j.thrower) throw std::runtime_error("from " + std::to_string(thread));
        }, &job);
      } catch (const std::runtime_error& e) {
        caught = e.what();
      }
      EXPECT(caught == "from " + std::to_string(thrower), "threw '" + caught + "'");
      Gathering again(threads);
      pool.run([](void* context, int) { static_cast<Gathering*>(context)->gather(); }, &again);  // which ends if the pool is of use after an exception
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
