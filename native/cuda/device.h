// A CUDA device as the rest of the house sees it: memory, calls, and calls that are recorded once and replayed. There are two: the GPU (device.cu, in a
// library of its own, see load.h) and the emulator (native/emulator/device.cpp).
#pragma once
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace nichelm {

struct CudaDescription {
  std::string name;
  int major, minor;            // compute capability
  int multiprocessors;
  int64_t memory, available;   // bytes
  int driver, runtime;         // CUDA versions, 1000 major + 10 minor
  int devices;                 // how many the process may use
};

// Who computes matrix products (products.h).
struct CudaProducts {
  struct Choice { std::string product, by; double own_seconds, library_seconds; };  // by: own or cublaslt; seconds 0: not measured
  std::string mode;            // own, cublaslt or measured
  std::string library, file;   // cuBLASLt's and that of measurements; empty: none
  int64_t version = 0;         // of cuBLASLt
  std::vector<Choice> choices; // so far
};

// Calls that were recorded, with their operands' places.
class CudaGraph {
 public:
  virtual ~CudaGraph() = default;
  virtual void replay() = 0;
  // Seconds of one replay, by the device's own clock, of so many in a row. Waits for them.
  virtual double seconds(int times) = 0;
};

// Calls run in order, behind the host's back; read and synchronize wait for them. Not for several threads at once.
class CudaDevice {
 public:
  virtual ~CudaDevice() = default;
  virtual CudaDescription describe() = 0;
  virtual CudaProducts products() = 0;

  // Memory of the device, 256-byte aligned. Throws a memory error that says how much was asked for and how much there is.
  virtual void* allocate(int64_t bytes) = 0;
  virtual void release(void* memory) noexcept = 0;
  virtual void write(void* to, const void* from, int64_t bytes) = 0;   // from host memory, which may be changed afterwards
  virtual void read(const void* from, void* into, int64_t bytes) = 0;  // to host memory, after all calls before it
  virtual void zero(void* at, int64_t bytes) = 0;

  virtual bool computes(const char* op) const = 0;                     // whether there is a kernel
  virtual void run(const char* name, const void* op) = 0;              // op: its struct, checked, with operands in device memory
  // Records what calls() runs, instead of running it. It must have run before: memory that kernels need is then there. Structs of ops must outlive the graph.
  virtual std::unique_ptr<CudaGraph> record(const std::function<void()>& calls) = 0;
  virtual void synchronize() = 0;
};

}  // namespace nichelm
