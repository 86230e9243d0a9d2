// Compiled once for every instruction set: the table of that set's kernels.
#include "ops/kernels.h"

namespace nichelm {
namespace {

template <class Op> void call(Cpu& device, const void* op) { run(static_cast<cpu::NICHELM_ISA&>(device), *static_cast<const Op*>(op)); }

template <class... Ops> constexpr KernelTable table(OpList<Ops...>) { return {call<Ops>...}; }

}  // namespace

#define NICHELM_JOIN(a, b) a##b
#define NICHELM_TABLE(isa) NICHELM_JOIN(kernels_, isa)
extern const KernelTable NICHELM_TABLE(NICHELM_ISA);
const KernelTable NICHELM_TABLE(NICHELM_ISA) = table(AllOps{});

}  // namespace nichelm
