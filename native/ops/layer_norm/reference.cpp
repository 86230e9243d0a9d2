// The oracle: the formulas of layer_norm.h in double, one plain loop after the other.
#include <cmath>
#include <vector>

#include "ops/layer_norm/layer_norm.h"

namespace nichelm {

template <> void run(Reference&, const LayerNorm& op) {
  const int64_t width = op.x.width();
  for (int64_t r = 0; r < op.x.rows(); ++r) {
    const float* x = op.x.as<float>() + r * width;
    double sum = 0, squares = 0;
    for (int64_t i = 0; i < width; ++i) sum += x[i];
    const double mean = sum / double(width);
    for (int64_t i = 0; i < width; ++i) squares += (x[i] - mean) * (x[i] - mean);
    const double scale = 1 / std::sqrt(squares / double(width) + op.epsilon);
    for (int64_t i = 0; i < width; ++i)
      op.y.as<float>()[r * width + i] = static_cast<float>((x[i] - mean) * scale * op.gain.as<float>()[i] + op.bias.as<float>()[i]);
    op.mean.as<float>()[r] = static_cast<float>(mean);
    op.scale.as<float>()[r] = static_cast<float>(scale);
  }
}

template <> void run(Reference&, const LayerNormGradient& op) {
  const int64_t width = op.x.width();
  std::vector<double> dgain(static_cast<size_t>(width)), dbias(dgain);
  for (int64_t r = 0; r < op.x.rows(); ++r) {
    const float *x = op.x.as<float>() + r * width, *dy = op.dy.as<float>() + r * width, *gain = op.gain.as<float>();
    const double mean = op.mean.as<float>()[r], scale = op.scale.as<float>()[r];
    double sum_g = 0, sum_gn = 0;
    for (int64_t i = 0; i < width; ++i) {
      const double n = (x[i] - mean) * scale, g = double(dy[i]) * gain[i];
      sum_g += g;
      sum_gn += g * n;
      dgain[static_cast<size_t>(i)] += dy[i] * n;
      dbias[static_cast<size_t>(i)] += dy[i];
    }
    for (int64_t i = 0; i < width; ++i) {
      const double n = (x[i] - mean) * scale, g = double(dy[i]) * gain[i];
      const double other = op.residual.present() ? op.residual.as<float>()[r * width + i] : 0;
      op.dx.as<float>()[r * width + i] = static_cast<float>(scale * (g - sum_g / double(width) - n * sum_gn / double(width)) + other);
    }
  }
  for (int64_t i = 0; i < width; ++i) {
    if (op.dgain.present()) op.dgain.as<float>()[i] = static_cast<float>(op.dgain.as<float>()[i] + dgain[static_cast<size_t>(i)]);
    if (op.dbias.present()) op.dbias.as<float>()[i] = static_cast<float>(op.dbias.as<float>()[i] + dbias[static_cast<size_t>(i)]);
  }
}

}  // namespace nichelm
