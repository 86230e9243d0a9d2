#include "ops/basis_step/basis_step.h"
#include "ops/basis_step/calls.h"

namespace nichelm {

void BasisStep::check() const {
  update_of(*this).check();
  projection_of(*this).check();
}

}  // namespace nichelm
