// A CUDA device as the rest of the house sees it: memory and calls. There are two: the GPU (device.cu) and the emulator (native/emulator/device.cpp).
#pragma once
#include <cstdint>
#include <memory>
#include <string>

namespace nichelm {

class CudaDevice {
 public:
  virtual ~CudaDevice() = default;

  // Memory of the device, 256-byte aligned. Throws a memory error.
  virtual void* allocate(int64_t bytes) = 0;
  virtual void release(void* memory) = 0;
  virtual void write(void* to, const void* from, int64_t bytes) = 0;        // from host memory
  virtual void read(const void* from, void* into, int64_t bytes) = 0;       // after all calls before it
  virtual void run(const char* name, const void* op) = 0;                   // op: its struct, checked; operands in device memory
};

}  // namespace nichelm
