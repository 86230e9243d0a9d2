// The oracle: the formulas of elementwise.h in double. f32 operands only.
#include <cmath>

#include "ops/elementwise/elementwise.h"

namespace nichelm {
namespace {

constexpr double kRoot = 0.79788456080286535588;  // sqrt(2 / pi)

double tanh_inner(double x) { return std::tanh(kRoot * (x + 0.044715 * x * x * x)); }

}  // namespace

template <> void run(Reference&, const Fill& op) {
  for (int64_t i = 0; i < op.y.size(); ++i) op.y.as<float>()[i] = op.value;
}

template <> void run(Reference&, const Cast& op) {
  for (int64_t i = 0; i < op.y.size(); ++i) op.y.as<float>()[i] = op.x.as<float>()[i];
}

template <> void run(Reference&, const Add& op) {
  for (int64_t i = 0; i < op.y.size(); ++i) op.y.as<float>()[i] = static_cast<float>(double(op.a.as<float>()[i]) + op.b.as<float>()[i]);
}

template <> void run(Reference&, const Scale& op) {
  for (int64_t i = 0; i < op.y.size(); ++i) op.y.as<float>()[i] = static_cast<float>(double(op.factor) * op.x.as<float>()[i]);
}

template <> void run(Reference&, const Gelu& op) {
  for (int64_t i = 0; i < op.y.size(); ++i) {
    const double x = op.x.as<float>()[i];
    op.y.as<float>()[i] = static_cast<float>(x / 2 * (1 + tanh_inner(x)));
  }
}

template <> void run(Reference&, const GeluGradient& op) {
  for (int64_t i = 0; i < op.dx.size(); ++i) {
    const double x = op.x.as<float>()[i], t = tanh_inner(x);
    const double slope = (1 + t) / 2 + x / 2 * (1 - t * t) * kRoot * (1 + 3 * 0.044715 * x * x);
    op.dx.as<float>()[i] = static_cast<float>(op.dy.as<float>()[i] * slope);
  }
}

}  // namespace nichelm
