#include "test/math_sweep.h"

#include "runtime/several.h"

namespace nichelm::test {
namespace {

template <class X> NICHELM_INLINE X of(MathFunction f, X x) {
  switch (f) {
    case MathFunction::gelu: return gelu(x);
    case MathFunction::gelu_bf16: return gelu<Bf16>(x);
    case MathFunction::gelu_derivative: return gelu_derivative(x);
    case MathFunction::gelu_derivative_bf16: return gelu_derivative<Bf16>(x);
    case MathFunction::gate: return gate_of(x);
    case MathFunction::exp2_nonpositive: return exp2_nonpositive(x);
    default: return exp_nonpositive(x);
  }
}

template <int N, class Which> NICHELM_INLINE void one(MathFunction f, const float* x, float* y, Which lanes) {
  Several<N> z;
  for (int v = 0; v < N; ++v) z.part[v] = load(x + v * kLanes, lanes);
  z = of(f, z);
  for (int v = 0; v < N; ++v) store(z.part[v], y + v * kLanes, lanes);
}

}  // namespace

template <> void sweep<cpu::NICHELM_ISA>(MathFunction f, const float* x, float* y, int64_t count) {
  if (f == MathFunction::exp) {
    for (int64_t i = 0; i < count; ++i) y[i] = exp_fast(x[i]);
  } else if (f == MathFunction::sigmoid) {
    for (int64_t i = 0; i < count; ++i) y[i] = sigmoid(x[i]);
  } else {
    int64_t i = 0;
    for (; i + 4 * kLanes <= count; i += 4 * kLanes) one<4>(f, x + i, y + i, AllLanes{});
    for (; i + kLanes <= count; i += kLanes) one<1>(f, x + i, y + i, AllLanes{});
    if (i < count) one<1>(f, x + i, y + i, SomeLanes{count - i});
  }
}

}  // namespace nichelm::test
