// AdamW's formula for one parameter, or for a register of them. Operations are in PyTorch's order, so that f32 rounds alike.
#pragma once
#include "runtime/lanes.h"

namespace nichelm {
namespace {

struct AdamwFactors {
  float clip, one_minus_beta1, beta2, one_minus_beta2, decay, step, over_root_c2, epsilon;
};

template <class Op> NICHELM_INLINE AdamwFactors adamw_factors(const Op& op) {
  const float rate = op.schedule.template as<float>()[0], c1 = op.schedule.template as<float>()[1], c2 = op.schedule.template as<float>()[2];
  return {op.clip.template as<float>()[0], 1 - op.beta1, op.beta2, 1 - op.beta2, 1 - rate * op.weight_decay, rate / c1, 1 / __builtin_sqrtf(c2), op.epsilon};
}

// Gives the new p. X is float or Lanes.
template <class X> NICHELM_INLINE X adamw_updated(const AdamwFactors& f, X gradient, X p, X& m, X& v) {
  const X g = f.clip * gradient;
  m += f.one_minus_beta1 * (g - m);
  v = f.beta2 * v + f.one_minus_beta2 * g * g;
  return p * f.decay - f.step * (m / (square_root(v) * f.over_root_c2 + f.epsilon));
}

}  // namespace
}  // namespace nichelm
