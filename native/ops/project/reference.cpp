// The oracle: the formulas of project.h in double, one plain loop after the other. Weights are f32 here.
#include <cmath>
#include <vector>

#include "ops/project/project.h"

namespace nichelm {
namespace {

// Row g of experts[ids], or NaN.
template <class Op> double expert_of(const Op& op, int64_t g, int64_t q) {
  const int32_t id = op.ids.template as<int32_t>()[g];
  return id >= 0 && id < op.experts.shape[0] ? op.experts.template as<float>()[id * op.experts.shape[1] + q] : NAN;
}

}  // namespace

template <> void run(Reference&, const Project& op) {
  const int64_t m = op.mix.shape[0], h = op.mix.shape[1], size = op.basis.shape[1] * op.basis.shape[2];
  for (int64_t g = 0; g < op.ids.size(); ++g) {
    std::vector<double> weights(static_cast<size_t>(size));
    for (int64_t r = 0; r < h; ++r) {
      double c = 0;
      for (int64_t q = 0; q < m; ++q) c += expert_of(op, g, q) * op.mix.as<float>()[q * h + r];
      c *= op.scale;
      op.coefficients.as<float>()[g * h + r] = static_cast<float>(c);
      for (int64_t i = 0; i < size; ++i) weights[static_cast<size_t>(i)] += c * op.basis.as<float>()[r * size + i];
    }
    for (int64_t i = 0; i < size; ++i) op.weights.as<float>()[g * size + i] = static_cast<float>(weights[static_cast<size_t>(i)]);
  }
}

template <> void run(Reference&, const ProjectGradient& op) {
  const int64_t m = op.mix.shape[0], h = op.mix.shape[1], size = op.basis.shape[1] * op.basis.shape[2];
  std::vector<double> dexperts(static_cast<size_t>(op.experts.size())), dmix(static_cast<size_t>(op.mix.size()));
  for (int64_t g = 0; g < op.ids.size(); ++g)
    for (int64_t r = 0; r < h; ++r) {
      double dc = 0;
      for (int64_t i = 0; i < size; ++i) dc += double(op.dweights.as<float>()[g * size + i]) * op.basis.as<float>()[r * size + i];
      const int32_t id = op.ids.as<int32_t>()[g];
      for (int64_t q = 0; q < m; ++q) {
        if (id >= 0 && id < op.experts.shape[0]) dexperts[static_cast<size_t>(id * m + q)] += op.scale * dc * op.mix.as<float>()[q * h + r];
        dmix[static_cast<size_t>(q * h + r)] += op.scale * dc * expert_of(op, g, q);
      }
    }
  for (int64_t i = 0; i < op.experts.size(); ++i) op.dexperts.as<float>()[i] = static_cast<float>(op.dexperts.as<float>()[i] + dexperts[static_cast<size_t>(i)]);
  for (int64_t i = 0; i < op.mix.size(); ++i) op.dmix.as<float>()[i] = static_cast<float>(op.dmix.as<float>()[i] + dmix[static_cast<size_t>(i)]);
}

}  // namespace nichelm
