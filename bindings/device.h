// The open device as the addon holds it. Its pool serves one caller at a time, so calls take the lock.
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
  std::mutex lock;
};
struct BoundProgram {
  BoundProgram(std::shared_ptr<Arena> arena, std::string_view text, Isa isa) : arena(std::move(arena)), program(text, *this->arena, isa) {}
  std::shared_ptr<Arena> arena;  // the program's addresses are in it
  Program program;
};

template <> struct Tag<Device> {
  static constexpr napi_type_tag value{0x6e696368656c6d01, 0x6465766963650000};
  static constexpr const char* name = "device";
};
template <> struct Tag<Arena> {
  static constexpr napi_type_tag value{0x6e696368656c6d02, 0x6172656e61000000};
  static constexpr const char* name = "arena";
};
template <> struct Tag<BoundProgram> {
  static constexpr napi_type_tag value{0x6e696368656c6d03, 0x70726f6772616d00};
  static constexpr const char* name = "program";
};

}  // namespace nichelm::binding
