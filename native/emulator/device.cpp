#include "emulator/device.h"

#include <unistd.h>

#include <array>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <new>

#include "cuda/kernel.h"
#include "cuda/products.h"

namespace nichelm::emulator {
namespace {

// Exactly as long as was asked for, so that AddressSanitizer sees the end.
class Memory {
 public:
  explicit Memory(int64_t bytes) {
    if (posix_memalign(&data_, 256, static_cast<size_t>(bytes > 0 ? bytes : 1))) throw std::bad_alloc();  // aligned_alloc would want a multiple of 256
    std::memset(data_, 0xff, static_cast<size_t>(bytes));  // NaN
  }
  ~Memory() { std::free(data_); }
  Memory(const Memory&) = delete;
  void* data() const { return data_; }

 private:
  void* data_ = nullptr;
};

class Stream : public Cuda {
 public:
  explicit Stream(int major) : major_(major) {}
  void* scratch(int64_t bytes, int slot) override {
    auto& buffer = buffers_.at(static_cast<size_t>(slot));
    buffer = std::make_unique<Memory>(bytes);  // poisoned afresh: nothing may be left for a later op
    return buffer->data();
  }
  int multiprocessors() const override { return 4; }  // few, so that tests of moderate shapes reach the large tiles too
  bool hopper() const override { return major_ == 9; }
  Products& products() override { return products_; }
  void* stream() override { return nullptr; }
  bool recording() const override { return false; }  // what is replayed is run as at first
  double seconds(const std::function<void()>& calls, int times) override {
    const auto begin = std::chrono::steady_clock::now();
    for (int i = 0; i < times; ++i) calls();
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count() / times;
  }

 private:
  int major_;
  std::array<std::unique_ptr<Memory>, kScratchSlots> buffers_;
  Products products_{"emulated by the CPU"};
};

struct Call { CudaKernel kernel; const void* op; };

class Graph : public CudaGraph {
 public:
  Graph(Cuda& stream, std::vector<Call> calls) : stream_(stream), calls_(std::move(calls)) {}
  void replay() override {
    for (const Call& call : calls_) call.kernel(stream_, call.op);
  }
  double seconds(int times) override {
    const auto begin = std::chrono::steady_clock::now();
    for (int i = 0; i < times; ++i) replay();
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count() / times;
  }

 private:
  Cuda& stream_;
  std::vector<Call> calls_;
};

class Device : public CudaDevice {
 public:
  explicit Device(int major) : major_(major), stream_(major) {}
  CudaDescription describe() override {
    const auto bytes = [](int pages) { return static_cast<int64_t>(sysconf(pages)) * sysconf(_SC_PAGESIZE); };
    return {"emulated by the CPU", major_, 0, stream_.multiprocessors(), bytes(_SC_PHYS_PAGES), bytes(_SC_AVPHYS_PAGES), 0, 0, 1};
  }
  CudaProducts products() override { return stream_.products().describe(); }
  void* allocate(int64_t bytes) override {
    auto memory = std::make_unique<Memory>(bytes);
    void* data = memory->data();
    memories_[data] = std::move(memory);
    return data;
  }
  void release(void* memory) noexcept override { memories_.erase(memory); }
  void write(void* to, const void* from, int64_t bytes) override { std::memcpy(to, from, static_cast<size_t>(bytes)); }
  void read(const void* from, void* into, int64_t bytes) override { std::memcpy(into, from, static_cast<size_t>(bytes)); }
  void zero(void* at, int64_t bytes) override { std::memset(at, 0, static_cast<size_t>(bytes)); }
  bool computes(const char* op) const override { return has_cuda_kernel(op); }
  void run(const char* name, const void* op) override {
    const Call call{cuda_kernel(name), op};
    recording_ ? recorded_.push_back(call) : call.kernel(stream_, call.op);
  }
  std::unique_ptr<CudaGraph> record(const std::function<void()>& calls) override {
    recorded_.clear();
    recording_ = true;
    try {
      calls();
    } catch (...) {
      recording_ = false;
      throw;
    }
    recording_ = false;
    return std::make_unique<Graph>(stream_, std::move(recorded_));
  }
  void synchronize() override {}

 private:
  int major_;
  Stream stream_;
  bool recording_ = false;
  std::vector<Call> recorded_;
  std::map<const void*, std::unique_ptr<Memory>> memories_;
};

}  // namespace

std::unique_ptr<CudaDevice> open_device(int major) { return std::make_unique<Device>(major); }

}  // namespace nichelm::emulator
