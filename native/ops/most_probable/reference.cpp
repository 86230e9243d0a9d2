// The oracle: the formulas of most_probable.h in double, a row sorted whole.
#include <algorithm>
#include <cmath>
#include <numeric>
#include <vector>

#include "ops/most_probable/most_probable.h"

namespace nichelm {

template <> void run(Reference&, const MostProbable& op) {
  const int64_t vocabulary = op.logits.width(), k = op.ids.width();
  for (int64_t n = 0; n < op.logits.rows(); ++n) {
    const float* z = op.logits.as<float>() + n * vocabulary;
    std::vector<int32_t> order(static_cast<size_t>(vocabulary));
    std::iota(order.begin(), order.end(), 0);
    std::stable_sort(order.begin(), order.end(), [&](int32_t a, int32_t b) { return z[a] > z[b]; });
    std::vector<double> q;
    double total = 0, rest = 0, lost = 0;
    for (int32_t v : order) q.push_back(std::exp((double(z[v]) - z[order[0]]) / op.temperature)), total += q.back();
    for (double& v : q) v /= total;
    for (size_t j = static_cast<size_t>(k); j < q.size(); ++j) rest += q[j];
    for (size_t j = static_cast<size_t>(k); j < q.size(); ++j) lost += q[j] == 0 ? 0 : q[j] * std::log(q[j] * double(vocabulary - k) / rest);
    for (int64_t j = 0; j < k; ++j) {
      op.ids.as<int32_t>()[n * k + j] = order[static_cast<size_t>(j)];
      op.probabilities.as<float>()[n * k + j] = static_cast<float>(q[static_cast<size_t>(j)]);
    }
    op.rest.as<float>()[n] = static_cast<float>(rest);
    op.lost.as<float>()[n] = static_cast<float>(lost);
  }
}

}  // namespace nichelm
