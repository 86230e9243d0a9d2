// A program is the static list of kernel calls that one step is, with fixed addresses in an arena. It is read from text, one call a line:
//
//   nichelm-program 1
//   matmul a=0:bf16:64,128 b=16384:bf16:128,512 bias=- gelu_of=- residual=- c=147456:bf16:64,512 pre=- transpose_a=0 transpose_b=0 gelu=0
//
// An operand is BYTE_OFFSET:TYPE:SHAPE, or - where it is optional and absent; a scalar has the shape 1. Every operand and attribute of an op is given.
// Text is what the planner writes, a person can read, and a benchmark without Node can run.
#pragma once
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "ops/kernels.h"
#include "runtime/arena.h"

namespace nichelm {

struct FieldInfo {
  const char* name;
  const char* kind;  // in, out, inout, accumulate, in?, out?, accumulate?; float, int, bool
};
struct OpInfo {
  const char* name;
  std::vector<FieldInfo> fields;
};
const std::vector<OpInfo>& op_table();

// A call as it stands in a program's text: its op's place in AllOps, and its struct, checked, with operands at their places in the memory.
struct ProgramCall {
  int op;
  std::shared_ptr<const void> values;
};
// Throws an argument error that names the line and what is wrong in it: unknown op or field, a range outside the memory, operands that do not fit.
std::vector<ProgramCall> read_program(std::string_view text, char* memory, int64_t bytes);

class Program {
 public:
  Program(std::string_view text, const Arena& arena, Isa isa);

  void run(Cpu& device) const;
  int64_t calls() const { return static_cast<int64_t>(calls_.size()); }

  struct Timing { const char* op; int64_t calls; double seconds; };
  std::vector<Timing> profile(Cpu& device) const;  // runs once, timing each op's calls

 private:
  const KernelTable& kernels_;
  std::vector<ProgramCall> calls_;
};

}  // namespace nichelm
