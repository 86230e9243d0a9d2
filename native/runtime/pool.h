// A fixed pool of threads, which keep to the cores of the process (cores.h says how many make sense). Workers spin briefly between jobs, then sleep.
#pragma once
#include <atomic>
#include <cstdint>
#include <exception>
#include <mutex>
#include <thread>
#include <vector>

namespace nichelm {

class Pool {
 public:
  explicit Pool(int threads);  // the calling thread is one of them
  ~Pool();
  Pool(const Pool&) = delete;

  int threads() const { return static_cast<int>(workers_.size()) + 1; }

  // Runs task(context, thread) on this thread and, once each, on the workers that come before it has ended here; returns when it has ended on all of these.
  // A worker that sleeps or whose core is taken does not come in time, and is not waited for: so a task must be one that any of the threads can do alone.
  // Not reentrant; one caller at a time. What a task throws is thrown here, once all are done.
  void run(void (*task)(void* context, int thread), void* context);

 private:
  void stop();
  void work(int thread);
  bool join(uint32_t& seen);
  void attempt(int thread);

  std::vector<std::thread> workers_;
  void (*task_)(void*, int) = nullptr;
  void* context_ = nullptr;
  // The number of the job, which sleeping workers wait on; and the job's number, whether workers may still come to it, and how many are at it.
  alignas(64) std::atomic<uint32_t> generation_{0};
  alignas(64) std::atomic<uint64_t> state_{0};
  alignas(64) std::atomic<int> sleeping_{0};
  std::atomic<bool> stop_{false};
  std::mutex error_mutex_;
  std::exception_ptr error_;
};

}  // namespace nichelm
