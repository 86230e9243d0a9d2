// The oracle: the formula of adamw.h in double, one parameter after the other.
#include <cmath>

#include "ops/adamw/adamw.h"

namespace nichelm {

template <> void run(Reference&, const Adamw& op) {
  const double rate = op.schedule.as<float>()[0], c1 = op.schedule.as<float>()[1], c2 = op.schedule.as<float>()[2];
  for (int64_t i = 0; i < op.p.size(); ++i) {
    const double g = double(op.clip.as<float>()[0]) * op.gradient.as<float>()[i];
    const double m = double(op.beta1) * op.m.as<float>()[i] + (1 - double(op.beta1)) * g;
    const double v = double(op.beta2) * op.v.as<float>()[i] + (1 - double(op.beta2)) * g * g;
    const double p = op.p.as<float>()[i] * (1 - rate * op.weight_decay) - rate * (m / c1) / (std::sqrt(v / c2) + op.epsilon);
    op.p.as<float>()[i] = static_cast<float>(p);
    op.m.as<float>()[i] = static_cast<float>(m);
    op.v.as<float>()[i] = static_cast<float>(v);
  }
}

}  // namespace nichelm
