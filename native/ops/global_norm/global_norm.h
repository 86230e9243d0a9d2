// Euclidean norm over all gradients, and the factor that clips it (Pascanu et al., arXiv 1211.5063), as PyTorch does it:
//   norm = sqrt(sum g² + squares),   clip = min(1, limit / (norm + 1e-6)); limit 0: no clipping, clip = 1.
// A norm that is not finite gives clip = NaN, so that the step cannot pass for a good one.
#pragma once
#include "runtime/op.h"

namespace nichelm {

struct GlobalNorm {
  In gradient;         // (n) f32
  InOptional squares;  // (1) f32: those of gradients that lie elsewhere (basis_norm); 0 if absent
  Out norm;            // (1) f32
  Out clip;            // (1) f32
  float limit;         // >= 0

  static constexpr auto fields() {
    return nichelm::fields<GlobalNorm>("global_norm", {"gradient", "squares", "norm", "clip", "limit"}, &GlobalNorm::gradient, &GlobalNorm::squares, &GlobalNorm::norm, &GlobalNorm::clip, &GlobalNorm::limit);
  }
  void check() const;
};

}  // namespace nichelm
