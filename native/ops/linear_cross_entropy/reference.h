// What the oracles of the output layer's losses share: logits, the loss and both gradients in double, one token after the other.
#pragma once
#include <algorithm>
#include <cmath>
#include <vector>

#include "runtime/op.h"

namespace nichelm {

struct TokenLossInDouble { double nll, loss; };

// Cross-entropy of one token, nats.
inline double nll_in_double(const std::vector<double>& logits, int64_t target) {
  const double largest = *std::max_element(logits.begin(), logits.end());
  double total = 0;
  for (double logit : logits) total += std::exp(logit - largest);
  return std::log(total) + largest - logits[static_cast<size_t>(target)];
}

// token(n, logits, slopes) gives the losses of a token that counts, and fills in the gradient of its loss by its logits. dx, dweight: null where there is none.
template <class Op, class Token> void output_layer_in_double(const Op& op, float* dx, float* dweight, const Token& token) {
  const int64_t tokens = op.x.rows(), width = op.x.width(), vocabulary = op.weight.rows();
  double loss = 0;
  std::vector<double> sums(static_cast<size_t>(dweight ? vocabulary * width : 0));
  for (int64_t n = 0; n < tokens; ++n) {
    const float *x = op.x.template as<float>() + n * width, *weight = op.weight.template as<float>();
    const double counts = op.token_weights.template as<float>()[n];
    if (dx) std::fill(dx + n * width, dx + (n + 1) * width, 0.0f);
    op.nll.template as<float>()[n] = 0;
    if (counts == 0) continue;
    std::vector<double> logits(static_cast<size_t>(vocabulary)), slopes(logits.size()), dx_n(static_cast<size_t>(width));
    for (int64_t v = 0; v < vocabulary; ++v)
      for (int64_t i = 0; i < width; ++i) logits[static_cast<size_t>(v)] += double(x[i]) * weight[v * width + i];
    const TokenLossInDouble of_token = token(n, logits, slopes);
    op.nll.template as<float>()[n] = static_cast<float>(of_token.nll);
    loss += counts * of_token.loss;
    if (!dx) continue;
    for (int64_t v = 0; v < vocabulary; ++v) {
      const double d = counts * slopes[static_cast<size_t>(v)];
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

}  // namespace nichelm
