// The oracle: the formulas of linear_cross_entropy.h in double, one token after the other.
#include <algorithm>
#include <cmath>
#include <vector>

#include "ops/linear_cross_entropy/linear_cross_entropy.h"
#include "ops/linear_cross_entropy/reference.h"

namespace nichelm {
namespace {

template <class Op> void compute(const Op& op, float* dx, float* dweight) {
  output_layer_in_double(op, dx, dweight, [&](int64_t n, const std::vector<double>& logits, std::vector<double>& slopes) {
    const int64_t target = op.targets.template as<int32_t>()[n];
    const double largest = *std::max_element(logits.begin(), logits.end());
    double total = 0;
    for (double logit : logits) total += std::exp(logit - largest);
    for (size_t v = 0; v < logits.size(); ++v) slopes[v] = std::exp(logits[v] - largest) / total - (v == static_cast<size_t>(target));
    const double nll = nll_in_double(logits, target);
    return TokenLossInDouble{nll, nll};
  });
}

}  // namespace

template <> void run(Reference&, const LinearCrossEntropy& op) { compute(op, nullptr, nullptr); }
template <> void run(Reference&, const LinearCrossEntropyGradient& op) { compute(op, op.dx.as<float>(), op.dweight.as<float>()); }

}  // namespace nichelm
