// The oracle: the two calls' own, one after the other.
#include "ops/basis_step/calls.h"

namespace nichelm {

template <> void run(Reference&, const BasisAdamw& op);
template <> void run(Reference&, const Project& op);

template <> void run(Reference& reference, const BasisStep& op) {
  run(reference, update_of(op));
  run(reference, projection_of(op));
}

}  // namespace nichelm
