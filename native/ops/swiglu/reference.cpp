// The oracle: the formula of swiglu.h and its derivative in double. f32 operands only.
#include <cmath>

#include "ops/swiglu/swiglu.h"

namespace nichelm {

template <> void run(Reference&, const Swiglu& op) {
  const int64_t hidden = op.y.width();
  for (int64_t r = 0; r < op.x.rows(); ++r)
    for (int64_t i = 0; i < hidden; ++i) {
      const float* x = op.x.as<float>() + r * 2 * hidden;
      const double a = x[i];
      op.y.as<float>()[r * hidden + i] = static_cast<float>(a / (1 + std::exp(-a)) * x[hidden + i]);
    }
}

template <> void run(Reference&, const SwigluGradient& op) {
  const int64_t hidden = op.dy.width();
  for (int64_t r = 0; r < op.x.rows(); ++r)
    for (int64_t i = 0; i < hidden; ++i) {
      const float* x = op.x.as<float>() + r * 2 * hidden;
      float* dx = op.dx.as<float>() + r * 2 * hidden;
      const double a = x[i], s = 1 / (1 + std::exp(-a)), dy = op.dy.as<float>()[r * hidden + i];
      dx[i] = static_cast<float>(dy * x[hidden + i] * (s + a * s * (1 - s)));
      dx[hidden + i] = static_cast<float>(dy * a * s);
    }
}

}  // namespace nichelm
