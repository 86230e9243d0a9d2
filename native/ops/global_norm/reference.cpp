// The oracle: the formula of global_norm.h in double.
#include <cmath>

#include "ops/global_norm/global_norm.h"

namespace nichelm {

template <> void run(Reference&, const GlobalNorm& op) {
  double sum = op.squares.present() ? op.squares.as<float>()[0] : 0;
  for (int64_t i = 0; i < op.gradient.size(); ++i) sum += double(op.gradient.as<float>()[i]) * op.gradient.as<float>()[i];
  const double norm = std::sqrt(sum);
  op.norm.as<float>()[0] = static_cast<float>(norm);
  op.clip.as<float>()[0] = std::isfinite(op.norm.as<float>()[0]) ? static_cast<float>(op.limit > 0 ? std::fmin(1, op.limit / (norm + 1e-6)) : 1) : NAN;
}

}  // namespace nichelm
