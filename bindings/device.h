// The open device as the addon holds it, and what programs run in. A pool serves one caller at a time, so calls wait for each other.
#pragma once
#include <mutex>
#include <optional>

#include "common.h"
#include "cuda/device.h"
#include "cuda/program.h"
#include "runtime/arena.h"
#include "runtime/cpu.h"
#include "runtime/program.h"

namespace nichelm::binding {

// A GPU that several handles share; one of them calls it at a time.
struct Gpu {
  std::unique_ptr<CudaDevice> device;
  int ordinal;
  std::mutex lock;
};

struct Device {
  Device(int threads, Isa isa, std::shared_ptr<Gpu> gpu) : cpu(threads, isa), gpu(std::move(gpu)) {}
  Cpu cpu;  // with a GPU: what is done beside it
  std::shared_ptr<Gpu> gpu;  // null: the CPU computes
  std::shared_ptr<Calls> calls = std::make_shared<Calls>();
};

// Memory of the host, or of a GPU.
class Memory {
 public:
  explicit Memory(int64_t bytes) : arena_(std::in_place, bytes), bytes_(bytes) {}
  Memory(std::shared_ptr<Gpu> gpu, int64_t bytes);
  ~Memory();
  Memory(const Memory&) = delete;
  const std::shared_ptr<Gpu>& gpu() const { return gpu_; }
  void write(int64_t offset, const void* from, int64_t bytes);
  void read(int64_t offset, void* into, int64_t bytes);
  void wait();  // for all that was started

  int running = 0;  // runs that are under way or wait; main thread only
  std::mutex lock;  // two devices may run programs in one arena, but not at once

 private:
  friend struct BoundProgram;
  void check(int64_t offset, int64_t bytes) const;
  std::optional<Arena> arena_;
  std::shared_ptr<Gpu> gpu_;
  char* there_ = nullptr;
  int64_t bytes_;
};

struct BoundProgram {
  BoundProgram(std::shared_ptr<Memory> memory, std::string_view text, Isa isa);
  void run(Device& device);
  std::vector<Program::Timing> profile(Device& device);
  std::shared_ptr<Memory> memory;  // the program's addresses are in it

 private:
  std::optional<Program> program_;
  std::optional<CudaProgram> there_;
};

template <> struct Tag<Device> {
  static constexpr napi_type_tag value{0x6e696368656c6d01, 0x6465766963650000};
  static constexpr const char* name = "device";
};
template <> struct Tag<Memory> {
  static constexpr napi_type_tag value{0x6e696368656c6d02, 0x6172656e61000000};
  static constexpr const char* name = "arena";
};
template <> struct Tag<BoundProgram> {
  static constexpr napi_type_tag value{0x6e696368656c6d03, 0x70726f6772616d00};
  static constexpr const char* name = "program";
};

}  // namespace nichelm::binding
