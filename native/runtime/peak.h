// What the processor can do at most: the speed of multiply-adds that touch nothing but registers. Utilisation is measured against it.
#pragma once
#include "runtime/cpu.h"

namespace nichelm {

// FLOP/s of all threads of the device together, a multiply-add counted as two, with the instructions that a matrix product of this type uses there:
// bf16 dot products where there are such, else f32. Each thread's own processor time counts, so that other processes at work on the machine do not make
// it look slower than it is; threads beyond the available cores count for nothing. Takes about 50 ms of every thread; the best of five tries counts.
double measured_peak(Cpu& device, Type type);

// The loop itself, compiled for every instruction set (ops/peak/cpu.cpp): `rounds` rounds on every thread.
struct PeakLoop {
  Type type;
  int64_t rounds;
  double* flops;    // out: done by one thread
  double* seconds;  // out: of processor time, for each thread
};

}  // namespace nichelm
