// The oracle: the formulas of linear_distillation.h in double, one token after the other.
#include <algorithm>
#include <cmath>
#include <vector>

#include "ops/linear_cross_entropy/reference.h"
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
  const double alpha = op.alpha, temperature = op.temperature;
  output_layer_in_double(op, dx, dweight, [&](int64_t n, const std::vector<double>& logits, std::vector<double>& slopes) {
    const int64_t target = op.targets.template as<int32_t>()[n];
    const std::vector<double> p = softmax(logits, 1);
    const double nll = nll_in_double(logits, target), apart = divergence(op, n, softmax(logits, temperature), slopes);
    for (size_t v = 0; v < p.size(); ++v) slopes[v] = (1 - alpha) * (p[v] - (v == static_cast<size_t>(target))) + alpha * temperature * slopes[v];
    return TokenLossInDouble{nll, (1 - alpha) * nll + alpha * temperature * temperature * apart};
  });
}

}  // namespace

template <> void run(Reference&, const LinearDistillation& op) { compute(op, nullptr, nullptr); }
template <> void run(Reference&, const LinearDistillationGradient& op) { compute(op, op.dx.as<float>(), op.dweight.as<float>()); }

}  // namespace nichelm
