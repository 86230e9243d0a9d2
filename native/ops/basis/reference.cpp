// The oracle: dbasis formed element by element in double, then the formulas of basis.h and adamw.h.
#include <cmath>

#include "ops/basis/basis.h"

namespace nichelm {
namespace {

template <class Op> double gradient_of(const Op& op, int64_t r, int64_t i) {
  const int64_t groups = op.coefficients.shape[0], h = op.coefficients.shape[1], size = op.dweights.shape[1] * op.dweights.shape[2];
  double sum = 0;
  for (int64_t g = 0; g < groups; ++g) sum += double(op.coefficients.template as<float>()[g * h + r]) * op.dweights.template as<float>()[g * size + i];
  return sum;
}

}  // namespace

template <> void run(Reference&, const BasisNorm& op) {
  const int64_t h = op.coefficients.shape[1], size = op.dweights.shape[1] * op.dweights.shape[2];
  double sum = op.squares.as<float>()[0];
  for (int64_t r = 0; r < h; ++r)
    for (int64_t i = 0; i < size; ++i) sum += gradient_of(op, r, i) * gradient_of(op, r, i);
  op.squares.as<float>()[0] = static_cast<float>(sum);
}

template <> void run(Reference&, const BasisAdamw& op) {
  const double rate = op.schedule.as<float>()[0], c1 = op.schedule.as<float>()[1], c2 = op.schedule.as<float>()[2];
  const int64_t size = op.dweights.shape[1] * op.dweights.shape[2];
  for (int64_t at = 0; at < op.basis.size(); ++at) {
    const double g = op.clip.as<float>()[0] * gradient_of(op, at / size, at % size);
    const double m = double(op.beta1) * op.m.as<float>()[at] + (1 - double(op.beta1)) * g;
    const double v = double(op.beta2) * op.v.as<float>()[at] + (1 - double(op.beta2)) * g * g;
    const double p = op.basis.as<float>()[at] * (1 - rate * op.weight_decay) - rate * (m / c1) / (std::sqrt(v / c2) + op.epsilon);
    op.basis.as<float>()[at] = static_cast<float>(p);
    op.m.as<float>()[at] = static_cast<float>(m);
    op.v.as<float>()[at] = static_cast<float>(v);
  }
}

}  // namespace nichelm
