// The oracle: the rules of sample.h in double, a row sorted whole.
#include <algorithm>
#include <cmath>
#include <numeric>
#include <vector>

#include "ops/sample/sample.h"

namespace nichelm {

template <> void run(Reference&, const Sample& op) {
  const size_t vocabulary = static_cast<size_t>(op.logits.width());
  for (int64_t n = 0; n < op.logits.rows(); ++n) {
    const float* z = op.logits.as<float>() + n * op.logits.width();
    int32_t& id = op.ids.as<int32_t>()[n];
    if (std::any_of(z, z + vocabulary, [](float x) { return !(x < INFINITY); })) { id = -1; continue; }
    std::vector<int32_t> order(vocabulary);
    std::iota(order.begin(), order.end(), 0);
    std::stable_sort(order.begin(), order.end(), [&](int32_t a, int32_t b) { return z[a] > z[b]; });
    if (op.temperature == 0) { id = order[0]; continue; }
    const float top = z[order[0]];
    const auto q = [&](int32_t v) { return std::exp((double(z[v]) - top) / op.temperature); };
    if (op.top_k > 0 && op.top_k < op.logits.width()) order.resize(static_cast<size_t>(op.top_k));
    const auto sum_of_all = [&] { return std::accumulate(order.begin(), order.end(), 0.0, [&](double sum, int32_t v) { return sum + q(v); }); };
    if (op.top_p < 1) {
      const double enough = double(op.top_p) * sum_of_all();
      double sum = 0;
      size_t kept = 0;
      while (kept < order.size() && sum < enough) sum += q(order[kept++]);
      order.resize(std::max<size_t>(1, kept));
    }
    if (order.size() == vocabulary && op.top_p == 1) std::sort(order.begin(), order.end());
    const double wanted = double(op.uniform.as<float>()[n]) * sum_of_all();
    double sum = 0;
    for (int32_t v : order) {
      id = v;
      if ((sum += q(v)) > wanted) break;
    }
  }
}

}  // namespace nichelm
