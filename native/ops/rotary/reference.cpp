// The oracle: the formula of rotary.h in double. f32 operands only.
#include <cmath>

#include "ops/rotary/rotary.h"

namespace nichelm {

template <> void run(Reference&, const Rotary& op) {
  const int64_t width = op.x.width(), length = op.starts.width(), d = width / (op.heads + 2 * op.kv_heads);
  for (int64_t token = 0; token < op.x.rows(); ++token) {
    const double position = double(token % length - op.starts.as<int32_t>()[token]);
    for (int64_t h = 0; h < op.heads + 2 * op.kv_heads; ++h) {
      const float* x = op.x.as<float>() + token * width + h * d;
      float* y = op.y.as<float>() + token * width + h * d;
      for (int64_t i = 0; i < d / 2; ++i) {
        const double angle = h >= op.heads + op.kv_heads ? 0 : position * std::pow(double(op.theta), -2.0 * double(i) / double(d)) * (op.inverse ? -1 : 1);
        const double a = x[i], b = x[i + d / 2];
        y[i] = static_cast<float>(a * std::cos(angle) - b * std::sin(angle));
        y[i + d / 2] = static_cast<float>(b * std::cos(angle) + a * std::sin(angle));
      }
    }
  }
}

}  // namespace nichelm
