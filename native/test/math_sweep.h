// The functions of runtime/math.h and of attention as kernels of one instruction set compute them, for the test of their errors.
#pragma once
#include "runtime/cpu.h"

namespace nichelm::test {

// Those for bf16 as they are before their rounding.
enum class MathFunction { exp, exp_nonpositive, sigmoid, gelu, gelu_derivative, exp2_nonpositive, gelu_bf16, gelu_derivative_bf16, gate };

// y[i] = f(x[i]). Compiled for every instruction set (math_sweep.cpp): exp_nonpositive, gelu and its derivative on four registers at a time, as kernels do, and on one where
// fewer are left; exp and sigmoid as loops that the compiler makes vector code of.
template <class Isa> void sweep(MathFunction f, const float* x, float* y, int64_t count);

// y[i] = e^x[i] as attention has it for f32, or 2^x[i] as for bf16 before its rounding (attention_exp_sweep.cpp). count: a multiple of 16.
template <class Isa> void sweep_attention_power(bool bf16, const float* x, float* y, int64_t count);

}  // namespace nichelm::test
