// The oracle: the formulas of linear_cross_entropy.h in double, one token after the other.
#include <algorithm>
#include <cmath>
#include <vector>

#include "ops/linear_cross_entropy/linear_cross_entropy.h"

namespace nichelm {
namespace {

template <class Op> void compute(const Op& op, float* dx, float* dweight) {
  const int64_t tokens = op.x.rows(), width = op.x.width(), vocabulary = op.weight.rows();
  double loss = 0;
  std::vector<double> sums(static_cast<size_t>(dweight ? vocabulary * width : 0));
  for (int64_t n = 0; n < tokens; ++n) {
    const float *x = op.x.template as<float>() + n * width, *weight = op.weight.template as<float>();
    const double counts = op.token_weights.template as<float>()[n];
    if (dx) std::fill(dx + n * width, dx + (n + 1) * width, 0.0f);
    op.nll.template as<float>()[n] = 0;
    if (counts == 0) continue;
    std::vector<double> logits(static_cast<size_t>(vocabulary)), dx_n(static_cast<size_t>(width));
    for (int64_t v = 0; v < vocabulary; ++v)
      for (int64_t i = 0; i < width; ++i) logits[static_cast<size_t>(v)] += double(x[i]) * weight[v * width + i];
    const double largest = *std::max_element(logits.begin(), logits.end());
    double total = 0;
    for (double logit : logits) total += std::exp(logit - largest);
    const int64_t target = op.targets.template as<int32_t>()[n];
    const double nll = std::log(total) + largest - logits[static_cast<size_t>(target)];
    op.nll.template as<float>()[n] = static_cast<float>(nll);
    loss += counts * nll;
    if (!dx) continue;
    for (int64_t v = 0; v < vocabulary; ++v) {
      const double d = counts * (std::exp(logits[static_cast<size_t>(v)] - largest) / total - (v == target));
      for (int64_t i = 0; i < width; ++i) {
        dx_n[static_cast<size_t>(i)] += d * weight[v * width + i];
        if (dweight) sums[static_cast<size_t>(v * width + i)] += d * x[i];
      }
    }
    std::copy(dx_n.begin(), dx_n.end(), dx + n * width);
  }
  for (size_t i = 0; i < sums.size(); ++i) dweight[i] = static_cast<float>(dweight[i] + sums[i]);
  op.loss.template as<float>()[0] = static_cast<float>(loss);
}

}  // namespace

template <> void run(Reference&, const LinearCrossEntropy& op) { compute(op, nullptr, nullptr); }
template <> void run(Reference&, const LinearCrossEntropyGradient& op) { compute(op, op.dx.as<float>(), op.dweight.as<float>()); }

}  // namespace nichelm
