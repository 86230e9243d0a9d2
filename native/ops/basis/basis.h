// What the optimizer needs of a basis' gradient, dbasis[r] = sum over g of c[g,r] dweights[g] (project.h), without ever storing it: it is as large as the
// basis, while the groups' dweights are as large as the few networks of one step.
#pragma once
#include "runtime/op.h"

namespace nichelm {

// squares += |dbasis|² = sum over g, g' of (c cᵀ)[g,g'] <dweights[g], dweights[g']>: the basis' part of the global norm.
struct BasisNorm {
  In dweights;         // (groups, inputs, outputs) f32
  In coefficients;     // (groups, h) f32
  Accumulate squares;  // (1) f32

  static constexpr auto fields() {
    return nichelm::fields<BasisNorm>("basis_norm", {"dweights", "coefficients", "squares"}, &BasisNorm::dweights, &BasisNorm::coefficients, &BasisNorm::squares);
  }
  void check() const;
};

// adamw (adamw.h) of the basis with the gradient dbasis, each element of which is formed in a register.
struct BasisAdamw {
  In dweights;      // (groups, inputs, outputs) f32
  In coefficients;  // (groups, h) f32
  In clip;          // (1) f32: what global_norm found
  In schedule;      // (3) f32: rate, 1 - beta1^t, 1 - beta2^t
  InOut basis;      // (h, inputs, outputs) f32
  InOut m, v;       // as basis
  float beta1, beta2, epsilon, weight_decay;

  static constexpr auto fields() {
    return nichelm::fields<BasisAdamw>("basis_adamw", {"dweights", "coefficients", "clip", "schedule", "basis", "m", "v", "beta1", "beta2", "epsilon", "weight_decay"}, &BasisAdamw::dweights,
                                       &BasisAdamw::coefficients, &BasisAdamw::clip, &BasisAdamw::schedule, &BasisAdamw::basis, &BasisAdamw::m, &BasisAdamw::v, &BasisAdamw::beta1,
                                       &BasisAdamw::beta2, &BasisAdamw::epsilon, &BasisAdamw::weight_decay);
  }
  void check() const;
};

}  // namespace nichelm
