// The two calls that basis_step stands for.
#pragma once
#include "ops/basis/basis.h"
#include "ops/basis_step/basis_step.h"
#include "ops/project/project.h"

namespace nichelm {

inline BasisAdamw update_of(const BasisStep& op) {
  return {op.dweights, {op.coefficients}, op.clip, op.schedule, op.basis, op.m, op.v, op.beta1, op.beta2, op.epsilon, op.weight_decay};
}
inline Project projection_of(const BasisStep& op) { return {op.experts, op.mix, {op.basis}, op.ids, {op.coefficients}, op.weights, op.scale}; }

}  // namespace nichelm
