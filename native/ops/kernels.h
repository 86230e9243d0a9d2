// The CPU kernels of one instruction set, by an op's place in AllOps.
#pragma once
#include <array>

#include "ops/list.h"
#include "runtime/cpu.h"

namespace nichelm {

using Kernel = void (*)(Cpu&, const void* op);
using KernelTable = std::array<Kernel, AllOps::count>;

const KernelTable& kernels(Isa isa);

// Runs one op on the kernels that the device was opened with.
template <class Op, class... Ops> constexpr int index_of(OpList<Ops...>) {
  constexpr bool same[] = {std::is_same_v<Op, Ops>...};
  for (int i = 0; i < static_cast<int>(sizeof...(Ops)); ++i)
    if (same[i]) return i;
  return -1;
}
template <class Op> void run_op(Cpu& device, const Op& op) {
  op.check();
  kernels(device.isa())[static_cast<size_t>(index_of<Op>(AllOps{}))](device, &op);
}

}  // namespace nichelm
