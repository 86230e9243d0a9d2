// The CPU device: a pool that splits work over threads, and scratch memory for each of them.
// The split never changes what one piece computes, so results are the same bits with any number of threads.
#pragma once
#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "runtime/cores.h"
#include "runtime/op.h"
#include "runtime/pool.h"

namespace nichelm {

enum class Isa : uint8_t { portable, avx2, avx512, avx512bf16 };
const char* name_of(Isa isa);
Isa best_isa();                       // the best that this CPU can run, or what NICHELM_ISA forces; throws if that cannot be
std::vector<Isa> runnable_isas();     // that this CPU can run and this build has, from the least to the best
Isa parse_isa(const std::string&);    // throws if unknown, or if this CPU cannot run it

class Cpu {
 public:
  // threads 0: all that are available. More threads than cores are allowed here (tests use it); users are told off at the binding.
  explicit Cpu(int threads = 0, Isa isa = best_isa());

  int threads() const { return pool_.threads(); }
  Isa isa() const { return isa_; }

  // Whether so much memory, gone through once, leaves the caches behind it without what came first: results are written past them then (runtime/lanes.h).
  bool outgrows_caches(int64_t bytes) const { return bytes > last_cache_; }
  void set_last_cache(int64_t bytes) { last_cache_ = bytes; }  // for tests

  // Calls body(first, last) on disjoint contiguous ranges that cover [0, count), as many as there are threads.
  template <class Body> void split(int64_t count, const Body& body) {
    const int64_t parts = count < threads() ? count : threads();
    each(parts, [&](int64_t part, int) { body(count * part / parts, count * (part + 1) / parts); });
  }

  // Calls body(task, thread) for every task in [0, tasks). Each thread has a run of tasks of its own, the same in every job of as many, and takes those in their
  // order; when it is through, it takes what is last in another's. So what a thread has made of some rows is mostly in its own caches when the next job needs it,
  // and what a task asks for ahead is the thread's own next task's.
  template <class Body> void each(int64_t tasks, const Body& body) {
    if (threads() == 1 || tasks <= 1) { for (int64_t t = 0; t < tasks; ++t) body(t, 0); return; }
    even_scratch();
    share_out(tasks);
    struct Job { const Body& body; Cpu& cpu; } job{body, *this};
    pool_.run([](void* context, int thread) {
      Job& j = *static_cast<Job*>(context);
      for (int64_t task; (task = j.cpu.take(thread)) >= 0;) j.body(task, thread);
    }, &job);
  }

  // Memory of one thread that lasts until the end of its task, or its next call, 64-byte aligned. It grows on first use and is kept, and the next time that
  // threads work together all get as much, whoever had that task: no allocation in later steps. slot tells apart buffers that are held at once (a caller and
  // the product it calls).
  void* scratch(int thread, int64_t bytes, int slot = 0);
  // One buffer that all threads share; call it outside split and each.
  void* shared_scratch(int64_t bytes, int slot = 0);
  int64_t scratch_bytes() const { return scratch_bytes_.load(std::memory_order_relaxed); }  // may be asked while a kernel runs

 private:
  struct alignas(64) Share { std::atomic<uint64_t> left{0}; };  // a thread's tasks that nobody has taken: the first in the upper half, the end in the lower
  void share_out(int64_t tasks);  // fewer than 2^32
  int64_t take(int thread);  // -1: none is left
  struct Buffer { void* data = nullptr; int64_t bytes = 0; ~Buffer(); };
  static constexpr int kSlots = 4;
  void* grow(Buffer& buffer, int64_t bytes);
  void even_scratch();

  Isa isa_;
  int64_t last_cache_;  // bytes
  Pool pool_;
  std::vector<Share> shares_;
  std::vector<std::array<Buffer, kSlots>> scratch_;
  std::array<Buffer, kSlots> shared_;
  std::atomic<bool> uneven_{false};  // a thread's scratch has grown
  std::atomic<int64_t> scratch_bytes_{0};
};

// The device as a kernel file of one instruction set sees it.
namespace cpu {
struct portable : Cpu {};
struct avx2 : Cpu {};
struct avx512 : Cpu {};
struct avx512bf16 : Cpu {};
}  // namespace cpu

}  // namespace nichelm
