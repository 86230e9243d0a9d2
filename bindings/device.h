// The open device as the addon holds it, and what programs run in. A pool serves one caller at a time, so calls wait for each other.
#pragma once
#include <mutex>

#include "common.h"
#include "runtime/arena.h"
#include "runtime/cpu.h"
#include "runtime/program.h"

namespace nichelm::binding {

struct Device {
  Device(int threads, Isa isa) : cpu(threads, isa) {}
  Cpu cpu;
  std::shared_ptr<Calls> calls = std::make_shared<Calls>();
};
struct Memory {
  explicit Memory(int64_t bytes) : arena(bytes) {}
  Arena arena;
  int running = 0;  // runs that are under way or wait; main thread only
  std::mutex lock;  // two devices may run programs in one arena, but not at once
};
struct BoundProgram {
  BoundProgram(std::shared_ptr<Memory> memory, std::string_view text, Isa isa) : memory(std::move(memory)), program(text, this->memory->arena, isa) {}
  std::shared_ptr<Memory> memory;  // the program's addresses are in it
  Program program;
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
