// The oracle: the formulas of linear_distillation.h in double, one token after the other.
#include <algorithm>
#include <cmath>
#include <vector>

#include "ops/linear_distillation/linear_distillation.h"

namespace nichelm {
namespace {

std::vector<double> softmax(const std::vector<double>& logits, double temperature) {
  const double largest = *std::max_element(logits.begin(), logits.end());
  std::vector<double> p(logits.size());
  double total = 0;
  for (size_t v = 0; v < p.size(); ++v) total += p[v] = std::exp((logits[v] - largest) / temperature);
  for (double& v : p) v /= total;
  return p;
}

double term(double q, double p) { return q == 0 ? 0 : q * std::log(q / p); }

// KL of one token, and the gradient of KL by logits / temperature in g.
template <class Op> double divergence(const Op& op, int64_t token, const std::vector<double>& p, std::vector<double>& g) {
  double sum = 0;
  if (op.teacher.present()) {
    const float* t = op.teacher.template as<float>() + token * op.teacher.width();
    const std::vector<double> q = softmax({t, t + p.size()}, op.temperature);
    for (size_t v = 0; v < p.size(); ++v) sum += term(q[v], p[v]), g[v] = p[v] - q[v];
    return sum;
  }
  const int64_t k = op.ids.width();
  const int32_t* ids = op.ids.template as<int32_t>() + token * k;
  const float* given = op.probabilities.template as<float>() + token * k;
  double known = 0, rest = 0;
  std::vector<double> q(p.size(), -1);
  for (int64_t j = 0; j < k; ++j) known += given[j];
  const bool whole = known > 1 || static_cast<size_t>(k) == p.size();
  for (int64_t j = 0; j < k; ++j) q[static_cast<size_t>(ids[j])] = whole ? given[j] / known : given[j];
  const double missing = whole ? 0 : 1 - known;
  for (size_t v = 0; v < p.size(); ++v) rest += q[v] < 0 ? p[v] : 0;
  for (size_t v = 0; v < p.size(); ++v) {
    if (q[v] >= 0) sum += term(q[v], p[v]), g[v] = p[v] - q[v];
    else g[v] = p[v] * (1 - missing / rest);
  }
  return sum + term(missing, rest);
}

template <class Op> void compute(const Op& op, float* dx, float* dweight) {
  const int64_t tokens = op.x.rows(), width = op.x.width(), vocabulary = op.weight.rows();
  const double alpha = op.alpha, temperature = op.temperature;
  const float* weight = op.weight.template as<float>();
  double loss = 0;
  std::vector<double> sums(static_cast<size_t>(dweight ? vocabulary * width : 0));
  for (int64_t n = 0; n < tokens; ++n) {
    const float* x = op.x.template as<float>() + n * width;
    const double counts = op.token_weights.template as<float>()[n];
    if (dx) std::fill(dx + n * width, dx + (n + 1) * width, 0.0f);
    op.nll.template as<float>()[n] = 0;
    if (counts == 0) continue;
    std::vector<double> logits(static_cast<size_t>(vocabulary)), g(logits.size()), dx_n(static_cast<size_t>(width));
    for (int64_t v = 0; v < vocabulary; ++v)
      for (int64_t i = 0; i < width; ++i) logits[static_cast<size_t>(v)] += double(x[i]) * weight[v * width + i];
    const int64_t target = op.targets.template as<int32_t>()[n];
    const std::vector<double> p = softmax(logits, 1), softened = softmax(logits, temperature);
    const double largest = *std::max_element(logits.begin(), logits.end());
    double total = 0;
    for (double logit : logits) total += std::exp(logit - largest);
    const double nll = std::log(total) + largest - logits[static_cast<size_t>(target)];
    op.nll.template as<float>()[n] = static_cast<float>(nll);
    loss += counts * ((1 - alpha) * nll + alpha * temperature * temperature * divergence(op, n, softened, g));
    if (!dx) continue;
    for (int64_t v = 0; v < vocabulary; ++v) {
      const double d = counts * ((1 - alpha) * (p[static_cast<size_t>(v)] - (v == target)) + alpha * temperature * g[static_cast<size_t>(v)]);
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

template <> void run(Reference&, const LinearDistillation& op) { compute(op, nullptr, nullptr); }
template <> void run(Reference&, const LinearDistillationGradient& op) { compute(op, op.dx.as<float>(), op.dweight.as<float>()); }

}  // namespace nichelm
