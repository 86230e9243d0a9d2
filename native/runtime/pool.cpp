#include "runtime/pool.h"

#include <string>
#include <system_error>
#include <utility>

#include "runtime/error.h"

#ifdef __x86_64__
#include <immintrin.h>
#endif

namespace nichelm {
namespace {

// About 50 us: longer than the gaps between the kernels of one step, short enough to leave the core to others between steps.
constexpr int kSpins = 2000;

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
  task_ = task, context_ = context;
  running_.store(static_cast<int>(workers_.size()), std::memory_order_relaxed);
  generation_.fetch_add(1);
  if (sleeping_.load() > 0) generation_.notify_all();
  attempt(0);
  for (int spins = 0; running_.load(std::memory_order_acquire) > 0; ++spins)
    spins < kSpins ? pause() : std::this_thread::yield();
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

void Pool::work(int thread) {
  uint32_t seen = 0;
  for (;;) {
    int spins = 0;
    while (generation_.load(std::memory_order_acquire) == seen) {
      if (++spins < kSpins) { pause(); continue; }
      sleeping_.fetch_add(1);
      generation_.wait(seen);
      sleeping_.fetch_sub(1);
    }
    seen = generation_.load(std::memory_order_acquire);
    if (stop_) return;
    attempt(thread);
    running_.fetch_sub(1, std::memory_order_release);
  }
}

}  // namespace nichelm
