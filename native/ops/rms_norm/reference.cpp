// The oracle: the formulas of rms_norm.h in double, one plain loop after the other.
#include <cmath>
#include <vector>

#include "ops/rms_norm/rms_norm.h"

namespace nichelm {

template <> void run(Reference&, const RmsNorm& op) {
  const int64_t width = op.x.width();
  for (int64_t r = 0; r < op.x.rows(); ++r) {
    const float* x = op.x.as<float>() + r * width;
    double squares = 0;
    for (int64_t i = 0; i < width; ++i) squares += double(x[i]) * x[i];
    const double scale = 1 / std::sqrt(squares / double(width) + op.epsilon);
    for (int64_t i = 0; i < width; ++i) op.y.as<float>()[r * width + i] = static_cast<float>(x[i] * scale * op.gain.as<float>()[i]);
    op.scale.as<float>()[r] = static_cast<float>(scale);
  }
}

template <> void run(Reference&, const RmsNormGradient& op) {
  const int64_t width = op.x.width();
  std::vector<double> dgain(static_cast<size_t>(width));
  for (int64_t r = 0; r < op.x.rows(); ++r) {
    const float *x = op.x.as<float>() + r * width, *dy = op.dy.as<float>() + r * width, *gain = op.gain.as<float>();
    const double scale = op.scale.as<float>()[r];
    double sum = 0;
    for (int64_t i = 0; i < width; ++i) {
      sum += double(dy[i]) * gain[i] * x[i];
      dgain[static_cast<size_t>(i)] += double(dy[i]) * x[i] * scale;
    }
    for (int64_t i = 0; i < width; ++i) {
      const double other = op.residual.present() ? op.residual.as<float>()[r * width + i] : 0;
      op.dx.as<float>()[r * width + i] = static_cast<float>(scale * (double(dy[i]) * gain[i] - x[i] * scale * scale * sum / double(width)) + other);
    }
  }
  if (!op.dgain.present()) return;
  for (int64_t i = 0; i < width; ++i) op.dgain.as<float>()[i] = static_cast<float>(op.dgain.as<float>()[i] + dgain[static_cast<size_t>(i)]);
}

}  // namespace nichelm
