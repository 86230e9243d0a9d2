// The oracle: the formula of cached_attention.h in double, one plain loop after the other. f32 operands only.
#include <algorithm>
#include <cmath>
#include <vector>

#include "ops/cached_attention/cached_attention.h"

namespace nichelm {

template <> void run(Reference&, const CachedAttention& op) {
  const int64_t d = op.head_width(), capacity = op.capacity(), length = op.length(), width = op.qkv.width(), group = op.heads / op.kv_heads;
  std::fill_n(op.y.as<float>(), op.y.size(), 0.0f);
  for (int64_t r = 0; r < op.rows(); ++r) {
    const int64_t slot = op.slots.as<int32_t>()[r], cached = op.cached.as<int32_t>()[r];
    if (slot < 0 || slot >= op.keys.shape[0]) continue;
    for (int64_t t = 0; t < length; ++t) {
      const int64_t place = cached + t;
      if (place < 0 || place >= capacity) continue;
      const float* token = op.qkv.as<float>() + (r * length + t) * width;
      for (int64_t g = 0; g < op.kv_heads; ++g) {
        std::copy_n(token + (op.heads + g) * d, d, op.keys.as<float>() + ((slot * op.kv_heads + g) * capacity + place) * d);
        std::copy_n(token + (op.heads + op.kv_heads + g) * d, d, op.values.as<float>() + ((slot * op.kv_heads + g) * capacity + place) * d);
      }
    }
    for (int64_t t = 0; t < length; ++t)
      for (int64_t h = 0; h < op.heads; ++h) {
        const int64_t place = cached + t;
        if (place < 0 || place >= capacity) continue;
        const float* q = op.qkv.as<float>() + (r * length + t) * width + h * d;
        const float* keys = op.keys.as<float>() + (slot * op.kv_heads + h / group) * capacity * d;
        const float* values = op.values.as<float>() + (slot * op.kv_heads + h / group) * capacity * d;
        std::vector<double> p(static_cast<size_t>(place + 1)), sum(static_cast<size_t>(d));
        double top = -INFINITY, total = 0;
        for (size_t j = 0; j < p.size(); ++j) {
          for (int64_t c = 0; c < d; ++c) p[j] += double(q[c]) * keys[static_cast<int64_t>(j) * d + c];
          top = std::max(top, p[j] /= std::sqrt(double(d)));
        }
        for (double& x : p) total += x = std::exp(x - top);
        for (size_t j = 0; j < p.size(); ++j)
          for (int64_t c = 0; c < d; ++c) sum[static_cast<size_t>(c)] += p[j] / total * values[static_cast<int64_t>(j) * d + c];
        for (int64_t c = 0; c < d; ++c) op.y.as<float>()[((r * length + t) * op.heads + h) * d + c] = static_cast<float>(sum[static_cast<size_t>(c)]);
      }
  }
}

}  // namespace nichelm
