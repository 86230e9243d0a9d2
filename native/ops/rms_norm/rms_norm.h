// Root-mean-square norm over the last axis (Zhang & Sennrich 2019, arXiv 1910.07467):
//   y[r,i] = x[r,i] scale[r] gain[i],   scale[r] = 1 / sqrt(mean_i x[r,i]² + epsilon)
// Backward, with g = dy gain:
//   dx[r,i] = scale[r] (g[r,i] - x[r,i] scale[r]² mean_j g[r,j] x[r,j]) + residual[r,i],   dgain[i] += sum_r dy x scale
#pragma once
#include "runtime/op.h"

namespace nichelm {

struct RmsNorm {
  In x;           // (..., width)  f32 or bf16
  In gain;        // (width)       f32
  Out y;          // (..., width)  as x
  Out scale;      // (rows)        f32, kept for the backward
  float epsilon;  // > 0

  static constexpr auto fields() {
    return nichelm::fields<RmsNorm>("rms_norm", {"x", "gain", "y", "scale", "epsilon"}, &RmsNorm::x, &RmsNorm::gain, &RmsNorm::y, &RmsNorm::scale, &RmsNorm::epsilon);
  }
  void check() const;
};

struct RmsNormGradient {
  In dy, x, gain, scale;
  InOptional residual;       // (..., width) as x: a gradient that reaches x by another way, added to dx
  Out dx;                    // (..., width) as x
  AccumulateOptional dgain;  // (width) f32; absent where the gain is frozen

  static constexpr auto fields() {
    return nichelm::fields<RmsNormGradient>("rms_norm_gradient", {"dy", "x", "gain", "scale", "residual", "dx", "dgain"}, &RmsNormGradient::dy, &RmsNormGradient::x, &RmsNormGradient::gain,
                                            &RmsNormGradient::scale, &RmsNormGradient::residual, &RmsNormGradient::dx, &RmsNormGradient::dgain);
  }
  void check() const;
};

}  // namespace nichelm
