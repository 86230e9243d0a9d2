// An op is a plain struct: its operands, its attributes, its name. run(device, op) computes it.
// Each device gives its own run; the double-precision Reference is the oracle of all the others.
#pragma once
#include <array>
#include <string>
#include <tuple>

#include "runtime/error.h"
#include "runtime/tensor.h"

namespace nichelm {

// Names the members of an op once. The binding lists them to TypeScript, which checks its own table against them at load;
// the program reader fills them by name. Attributes are float, int64_t or bool.
template <class Op, class... Members>
struct Fields {
  const char* op;
  std::array<const char*, sizeof...(Members)> names;
  std::tuple<Members Op::*...> members;
};
template <class Op, class... Members>
constexpr Fields<Op, Members...> fields(const char* op, std::array<const char*, sizeof...(Members)> names, Members Op::*... members) {
  return {op, names, {members...}};
}

class Cpu;            // thread pool, scratch memory
struct Reference {};  // plain loops in double; f32 operands only

// The CPU's kernels are compiled once for every instruction set; a kernel file defines run(cpu::NICHELM_ISA&, op).
namespace cpu {
struct portable;
struct avx2;
struct avx512;
struct avx512bf16;
}  // namespace cpu

template <class Device, class Op> void run(Device&, const Op&);

}  // namespace nichelm
