// AdamW over a run of parameters (Loshchilov & Hutter, arXiv 1711.05101), as PyTorch does it:
//   g = clip[0] gradient;   m = beta1 m + (1 - beta1) g;   v = beta2 v + (1 - beta2) g²
//   p = p (1 - rate weight_decay) - rate (m / c1) / (sqrt(v / c2) + epsilon),   c1 = 1 - beta1^t, c2 = 1 - beta2^t
// rate, c1 and c2 change with every step and come in a tensor, so that the program does not.
#pragma once
#include "runtime/op.h"

namespace nichelm {

struct Adamw {
  In gradient;       // (n) f32
  In clip;           // (1) f32: what global_norm found
  In schedule;       // (3) f32: rate, c1, c2
  InOut p, m, v;     // (n) f32
  OutOptional copy;  // (n) bf16: p rounded, for the products of the next step
  float beta1, beta2, epsilon, weight_decay;

  static constexpr auto fields() {
    return nichelm::fields<Adamw>("adamw", {"gradient", "clip", "schedule", "p", "m", "v", "copy", "beta1", "beta2", "epsilon", "weight_decay"}, &Adamw::gradient, &Adamw::clip, &Adamw::schedule,
                                  &Adamw::p, &Adamw::m, &Adamw::v, &Adamw::copy, &Adamw::beta1, &Adamw::beta2, &Adamw::epsilon, &Adamw::weight_decay);
  }
  void check() const;
};

}  // namespace nichelm
