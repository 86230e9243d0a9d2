// The end of a projected network's step and the beginning of the next in one pass over a basis: basis_adamw (basis.h), and project (project.h) of the updated
// basis for the next step's groups, while its elements are in registers or the nearest cache. The same bits as the two calls, which read the basis once more.
#pragma once
#include "runtime/op.h"

namespace nichelm {

struct BasisStep {
  In dweights;         // (groups, inputs, outputs) f32
  In clip;             // (1) f32: what global_norm found
  In schedule;         // (3) f32: rate, 1 - beta1^t, 1 - beta2^t
  In experts;          // (k, m) f32, updated already
  In mix;              // (m, h) f32, updated already
  In ids;              // (groups) i32 in [0, k): the experts of the next step's groups; one that is not makes its group NaN
  InOut coefficients;  // (groups, h) f32: those that dweights belong to, then the next step's
  InOut basis;         // (h, inputs, outputs) f32
  InOut m, v;          // as basis
  Out weights;         // (groups, inputs, outputs) f32 or bf16: the next step's
  float beta1, beta2, epsilon, weight_decay, scale;

  static constexpr auto fields() {
    return nichelm::fields<BasisStep>("basis_step", {"dweights", "clip", "schedule", "experts", "mix", "ids", "coefficients", "basis", "m", "v", "weights", "beta1", "beta2", "epsilon", "weight_decay", "scale"},
                                      &BasisStep::dweights, &BasisStep::clip, &BasisStep::schedule, &BasisStep::experts, &BasisStep::mix, &BasisStep::ids, &BasisStep::coefficients, &BasisStep::basis,
                                      &BasisStep::m, &BasisStep::v, &BasisStep::weights, &BasisStep::beta1, &BasisStep::beta2, &BasisStep::epsilon, &BasisStep::weight_decay, &BasisStep::scale);
  }
  void check() const;
};

}  // namespace nichelm
