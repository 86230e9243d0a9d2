#include "ops/basis/basis.h"

namespace nichelm {
namespace {

void check_factors(const Tensor& dweights, const Tensor& coefficients) {
  require(dweights.type == Type::f32 && dweights.axes == 3 && dweights.shape[0] > 0, "basis: dweights must be f32 of shape (groups, inputs, outputs), with at least one group");
  require(coefficients.type == Type::f32 && coefficients.axes == 2 && coefficients.shape[0] == dweights.shape[0], "basis: coefficients must be f32 of shape (groups, h)");
}

}  // namespace

void BasisNorm::check() const {
  check_factors(dweights, coefficients);
  require(squares.type == Type::f32 && squares.size() == 1, "basis_norm: squares must be one f32");
}

void BasisAdamw::check() const {
  check_factors(dweights, coefficients);
  require(basis.axes == 3 && basis.shape[0] == coefficients.shape[1] && basis.shape[1] == dweights.shape[1] && basis.shape[2] == dweights.shape[2],
          "basis_adamw: basis must have the shape (h, inputs, outputs)");
  require(basis.type == Type::f32 && m.type == Type::f32 && v.type == Type::f32, "basis_adamw: basis, m and v must be f32");
  require(m.size() == basis.size() && v.size() == basis.size(), "basis_adamw: m and v must be as large as basis");
  require(clip.type == Type::f32 && clip.size() == 1, "basis_adamw: clip must be one f32");
  require(schedule.type == Type::f32 && schedule.size() == 3, "basis_adamw: schedule must hold three f32: rate, c1, c2");
  require(beta1 >= 0 && beta1 < 1 && beta2 >= 0 && beta2 < 1, "basis_adamw: beta1 and beta2 must be at least 0 and below 1");
  require(epsilon > 0, "basis_adamw: epsilon must be positive");
  require(weight_decay >= 0, "basis_adamw: weight_decay must not be negative");
}

}  // namespace nichelm
