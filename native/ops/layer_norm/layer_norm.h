// Layer norm over the last axis (Ba et al., arXiv 1607.06450):
//   y[r,i] = (x[r,i] - mean[r]) scale[r] gain[i] + bias[i],   scale[r] = 1 / sqrt(mean_i (x[r,i] - mean[r])² + epsilon)
// Backward, with n = (x - mean) scale and g = dy gain:
//   dx[r,i] = scale[r] (g[r,i] - mean_j g[r,j] - n[r,i] mean_j g[r,j] n[r,j]) + residual[r,i],   dgain[i] += sum_r dy n,   dbias[i] += sum_r dy
#pragma once
#include "runtime/op.h"

namespace nichelm {

struct LayerNorm {
  In x;           // (..., width)  f32 or bf16
  In gain, bias;  // (width)       f32
  Out y;          // (..., width)  as x
  Out mean;       // (rows)        f32, kept for the backward
  Out scale;      // (rows)        f32, kept for the backward
  float epsilon;  // > 0

  static constexpr auto fields() {
    return nichelm::fields<LayerNorm>("layer_norm", {"x", "gain", "bias", "y", "mean", "scale", "epsilon"}, &LayerNorm::x, &LayerNorm::gain, &LayerNorm::bias, &LayerNorm::y, &LayerNorm::mean,
                                      &LayerNorm::scale, &LayerNorm::epsilon);
  }
  void check() const;
};

struct LayerNormGradient {
  In dy, x, gain, mean, scale;
  InOptional residual;              // (..., width) as x: a gradient that reaches x by another way, added to dx
  Out dx;                           // (..., width) as x
  AccumulateOptional dgain, dbias;  // (width) f32; absent where the parameter is frozen

  static constexpr auto fields() {
    return nichelm::fields<LayerNormGradient>("layer_norm_gradient", {"dy", "x", "gain", "mean", "scale", "residual", "dx", "dgain", "dbias"}, &LayerNormGradient::dy, &LayerNormGradient::x,
                                              &LayerNormGradient::gain, &LayerNormGradient::mean, &LayerNormGradient::scale, &LayerNormGradient::residual, &LayerNormGradient::dx,
                                              &LayerNormGradient::dgain, &LayerNormGradient::dbias);
  }
  void check() const;
};

}  // namespace nichelm
