#include "ops/linear_cross_entropy/check.h"

#include "ops/linear_cross_entropy/linear_cross_entropy.h"

namespace nichelm {

void LinearCrossEntropy::check() const { check_output_layer(*this, {"linear_cross_entropy"}); }

void LinearCrossEntropyGradient::check() const {
  const Must must{"linear_cross_entropy_gradient"};
  check_output_layer(*this, must);
  check_output_gradients(*this, must);
}

}  // namespace nichelm
