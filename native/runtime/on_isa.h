// Runs what is no op of a program, but is compiled for every instruction set like one: run(cpu::ISA&, work). Only the library knows which sets it has.
#pragma once
#include "runtime/cpu.h"

namespace nichelm {

template <class Work> void run_on_isa(Cpu& device, const Work& work) {
#ifdef __x86_64__
  switch (device.isa()) {
#ifdef NICHELM_HAS_avx2
    case Isa::avx2: return run(static_cast<cpu::avx2&>(device), work);
#endif
#ifdef NICHELM_HAS_avx512
    case Isa::avx512: return run(static_cast<cpu::avx512&>(device), work);
#endif
#ifdef NICHELM_HAS_avx512bf16
    case Isa::avx512bf16: return run(static_cast<cpu::avx512bf16&>(device), work);
#endif
    default: break;
  }
#endif
  run(static_cast<cpu::portable&>(device), work);
}

}  // namespace nichelm
