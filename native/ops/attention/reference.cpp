// The oracle: the formulas of attention.h and their derivatives, in double, one plain loop after the other. f32 operands only.
#include <algorithm>
#include <cmath>
#include <vector>

#include "ops/attention/attention.h"

namespace nichelm {
namespace {

// Where the vectors of one head of one row lie.
struct Head {
  const float *q, *k, *v;
  int64_t stride, d;
  double scale;

  template <class Op> Head(const Op& op, int64_t row, int64_t head) : stride(op.qkv.width()), d(op.head_width()), scale(1 / std::sqrt(double(op.head_width()))) {
    const int64_t g = head / (op.heads / op.kv_heads);
    const float* tokens = op.qkv.template as<float>() + row * op.starts.width() * stride;
    q = tokens + head * d, k = tokens + (op.heads + g) * d, v = tokens + (op.heads + op.kv_heads + g) * d;
  }
  double score(int64_t i, int64_t j) const {
    double sum = 0;
    for (int64_t c = 0; c < d; ++c) sum += double(q[i * stride + c]) * k[j * stride + c];
    return sum * scale;
  }
};

}  // namespace

template <> void run(Reference&, const Attention& op) {
  const int64_t length = op.starts.width(), rows = op.starts.rows(), d = op.head_width();
  std::vector<double> s(static_cast<size_t>(length)), sum(static_cast<size_t>(d));
  for (int64_t r = 0; r < rows; ++r)
    for (int64_t h = 0; h < op.heads; ++h)
      for (int64_t i = 0; i < length; ++i) {
        const Head head(op, r, h);
        const int64_t start = op.starts.as<int32_t>()[r * length + i];
        double top = -INFINITY, total = 0;
        for (int64_t j = start; j <= i; ++j) top = std::max(top, s[static_cast<size_t>(j)] = head.score(i, j));
        std::fill(sum.begin(), sum.end(), 0);
        for (int64_t j = start; j <= i; ++j) {
          const double p = std::exp(s[static_cast<size_t>(j)] - top);
          total += p;
          for (int64_t c = 0; c < d; ++c) sum[static_cast<size_t>(c)] += p * head.v[j * head.stride + c];
        }
        for (int64_t c = 0; c < d; ++c) op.y.as<float>()[((r * length + i) * op.heads + h) * d + c] = static_cast<float>(sum[static_cast<size_t>(c)] / total);
        op.lse.as<float>()[(r * op.heads + h) * length + i] = static_cast<float>(top + std::log(total));
      }
}

// ds = p (dp - sum_j p dp), from p of the scores themselves: y and lse are not read.
template <> void run(Reference&, const AttentionGradient& op) {
  const int64_t length = op.starts.width(), rows = op.starts.rows(), d = op.head_width(), width = op.qkv.width();
  std::vector<double> dqkv(static_cast<size_t>(op.qkv.size())), p(static_cast<size_t>(length)), dp(p);
  for (int64_t r = 0; r < rows; ++r)
    for (int64_t h = 0; h < op.heads; ++h)
      for (int64_t i = 0; i < length; ++i) {
        const Head head(op, r, h);
        const int64_t start = op.starts.as<int32_t>()[r * length + i], g = h / (op.heads / op.kv_heads);
        const float* dy = op.dy.as<float>() + ((r * length + i) * op.heads + h) * d;
        double* dq = dqkv.data() + (r * length + i) * width + h * d;
        double* dk = dqkv.data() + r * length * width + (op.heads + g) * d;
        double* dv = dk + op.kv_heads * d;
        double top = -INFINITY, total = 0, mean = 0;
        for (int64_t j = start; j <= i; ++j) top = std::max(top, p[static_cast<size_t>(j)] = head.score(i, j));
        for (int64_t j = start; j <= i; ++j) total += p[static_cast<size_t>(j)] = std::exp(p[static_cast<size_t>(j)] - top);
        for (int64_t j = start; j <= i; ++j) {
          p[static_cast<size_t>(j)] /= total, dp[static_cast<size_t>(j)] = 0;
          for (int64_t c = 0; c < d; ++c) dp[static_cast<size_t>(j)] += double(dy[c]) * head.v[j * head.stride + c];
          mean += p[static_cast<size_t>(j)] * dp[static_cast<size_t>(j)];
        }
        for (int64_t j = start; j <= i; ++j) {
          const double ds = p[static_cast<size_t>(j)] * (dp[static_cast<size_t>(j)] - mean) * head.scale;
          for (int64_t c = 0; c < d; ++c) {
            dq[c] += ds * head.k[j * head.stride + c];
            dk[j * width + c] += ds * head.q[i * head.stride + c];
            dv[j * width + c] += p[static_cast<size_t>(j)] * dy[c];
          }
        }
      }
  for (size_t i = 0; i < dqkv.size(); ++i) op.dqkv.as<float>()[i] = static_cast<float>(dqkv[i]);
}

}  // namespace nichelm
