// The oracle: the formula of rotary_table.h in double. f32 operands only.
#include <algorithm>

#include "ops/rotary_table/rotary_table.h"

namespace nichelm {

template <> void run(Reference&, const RotaryTable& op) {
  const int64_t width = op.x.width(), length = op.starts.width(), half = op.cosine.width();
  for (int64_t token = 0; token < op.x.rows(); ++token) {
    const int64_t position = std::clamp<int64_t>(token % length - op.starts.as<int32_t>()[token], 0, op.cosine.rows() - 1);
    for (int64_t h = 0; h < op.heads + 2 * op.kv_heads; ++h)
      for (int64_t i = 0; i < half; ++i) {
        const bool turned = h < op.heads + op.kv_heads;
        const double c = turned ? op.cosine.as<float>()[position * half + i] : 1, s = turned ? op.sine.as<float>()[position * half + i] : 0;
        const int64_t at = token * width + 2 * h * half + i;
        const double a = op.x.as<float>()[at], b = op.x.as<float>()[at + half];
        op.y.as<float>()[at] = static_cast<float>(a * c - b * s), op.y.as<float>()[at + half] = static_cast<float>(b * c + a * s);
      }
  }
}

}  // namespace nichelm
