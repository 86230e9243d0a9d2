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

  // Runs task(context, thread) once on every thread of the pool and waits for all. Not reentrant; one caller at a time.
  // What a task throws is thrown here, once all are done.
  void run(void (*task)(void* context, int thread), void* context);

 private:
  void stop();
  void work(int thread);
  void attempt(int thread);

  std::vector<std::thread> workers_;
  void (*task_)(void*, int) = nullptr;
  void* context_ = nullptr;
  alignas(64) std::atomic<uint32_t> generation_{0};
  alignas(64) std::atomic<int> running_{0};
  alignas(64) std::atomic<int> sleeping_{0};
  std::atomic<bool> stop_{false};
  std::mutex error_mutex_;
  std::exception_ptr error_;
};

}  // namespace nichelm
