#include "runtime/pool.h"

#include <chrono>
#include <string>
#include <system_error>
#include <utility>

#include "runtime/error.h"

#ifdef __x86_64__
#include <immintrin.h>
#endif

namespace nichelm {
namespace {

// Workers wait so long before they sleep: longer than the gaps between the kernels of a step and between two steps, short enough to leave the core to others.
// To wake up takes 20 us, or milliseconds where the system puts the thread on a core that is busy.
constexpr auto kSpinning = std::chrono::microseconds(200);
constexpr int kSpins = 64;    // before a look at the clock, and a chance for who else wants the core: the caller itself, if the worker has been put there
constexpr int kWaits = 4000;  // of the caller for workers that are still at a task, before it lets others have its core

constexpr uint64_t kOpen = uint64_t{1} << 31, kInside = kOpen - 1;
constexpr uint32_t job_of(uint64_t state) { return static_cast<uint32_t>(state >> 32); }

inline void pause() {
#ifdef __x86_64__
  _mm_pause();
#endif
}

}  // namespace

Pool::Pool(int threads) {
  try {
    for (int t = 1; t < threads; ++t) workers_.emplace_back([this, t] { work(t); });
  } catch (const std::system_error&) {
    stop();
    throw Error(ErrorCode::memory, "the system would not start " + std::to_string(threads) + " threads; ask for fewer");
  }
}

Pool::~Pool() { stop(); }

void Pool::stop() {
  stop_ = true;
  generation_.fetch_add(1);
  generation_.notify_all();
  for (auto& worker : workers_) worker.join();
}

void Pool::run(void (*task)(void*, int), void* context) {
  if (workers_.empty()) return task(context, 0);
  task_ = task, context_ = context;  // which nobody reads now: the last job was closed and left
  const uint32_t job = generation_.load(std::memory_order_relaxed) + 1;
  state_.store(uint64_t{job} << 32 | kOpen, std::memory_order_release);
  generation_.store(job);
  if (sleeping_.load() > 0) generation_.notify_all();
  attempt(0);
  state_.fetch_and(~kOpen, std::memory_order_acq_rel);
  for (int spins = 0; state_.load(std::memory_order_acquire) & kInside; ++spins)
    spins < kWaits ? pause() : std::this_thread::yield();
  if (error_) std::rethrow_exception(std::exchange(error_, nullptr));
}

void Pool::attempt(int thread) {
  try {
    task_(context_, thread);
  } catch (...) {
    const std::lock_guard lock(error_mutex_);
    if (!error_) error_ = std::current_exception();
  }
}

// Whether this worker is at a job now that it has not seen yet.
bool Pool::join(uint32_t& seen) {
  uint64_t state = state_.load(std::memory_order_acquire);
  while ((state & kOpen) && job_of(state) != seen)
    if (state_.compare_exchange_weak(state, state + 1, std::memory_order_acq_rel, std::memory_order_acquire)) {
      seen = job_of(state);
      return true;
    }
  return false;
}

void Pool::work(int thread) {
  uint32_t seen = 0;
  auto last = std::chrono::steady_clock::now();  // when there was something to do
  for (;;) {
    const uint32_t generation = generation_.load(std::memory_order_acquire);
    if (stop_) return;
    if (join(seen)) {
      attempt(thread);
      state_.fetch_sub(1, std::memory_order_release);
      last = std::chrono::steady_clock::now();
      continue;
    }
    for (int spins = 0; spins < kSpins && generation_.load(std::memory_order_relaxed) == generation; ++spins) pause();
    if (std::chrono::steady_clock::now() - last < kSpinning) {
      std::this_thread::yield();
      continue;
    }
    sleeping_.fetch_add(1);
    generation_.wait(generation);
    sleeping_.fetch_sub(1);
    last = std::chrono::steady_clock::now();
  }
}

}  // namespace nichelm
