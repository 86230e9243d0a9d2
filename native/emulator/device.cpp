#include "emulator/device.h"

#include <array>
#include <cstdlib>
#include <cstring>
#include <new>

#include "cuda/kernel.h"

namespace nichelm::emulator {
namespace {

// Exactly as long as was asked for, so that AddressSanitizer sees the end.
class Memory {
 public:
  explicit Memory(int64_t bytes) : data_(std::aligned_alloc(256, static_cast<size_t>(bytes > 0 ? bytes : 1))) {
    if (!data_) throw std::bad_alloc();
    std::memset(data_, 0xff, static_cast<size_t>(bytes));  // NaN
  }
  ~Memory() { std::free(data_); }
  Memory(const Memory&) = delete;
  void* data() const { return data_; }

 private:
  void* data_;
};

class Stream : public Cuda {
 public:
  void* scratch(int64_t bytes, int slot) override {
    auto& buffer = buffers_.at(static_cast<size_t>(slot));
    buffer = std::make_unique<Memory>(bytes);  // poisoned afresh: nothing may be left for a later op
    return buffer->data();
  }
  int multiprocessors() const override { return 4; }  // few, so that tests of moderate shapes reach the large tiles too

 private:
  std::array<std::unique_ptr<Memory>, 4> buffers_;
};

class Device : public CudaDevice {
 public:
  void* allocate(int64_t bytes) override {
    auto memory = std::make_unique<Memory>(bytes);
    void* data = memory->data();
    memories_[data] = std::move(memory);
    return data;
  }
  void release(void* memory) override { memories_.erase(memory); }
  void write(void* to, const void* from, int64_t bytes) override { std::memcpy(to, from, static_cast<size_t>(bytes)); }
  void read(const void* from, void* into, int64_t bytes) override { std::memcpy(into, from, static_cast<size_t>(bytes)); }
  void run(const char* name, const void* op) override { cuda_kernel(name)(stream_, op); }

 private:
  Stream stream_;
  std::map<const void*, std::unique_ptr<Memory>> memories_;
};

}  // namespace

std::unique_ptr<CudaDevice> open_device() { return std::make_unique<Device>(); }

}  // namespace nichelm::emulator
