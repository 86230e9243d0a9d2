// Gated linear unit with a SiLU gate (Shazeer, arXiv 2002.05202): gate and up lie side by side in a row, as one product made them,
//   y[r,i] = silu(x[r,i]) x[r, hidden + i],   silu(a) = a / (1 + exp(-a))
#pragma once
#include "runtime/op.h"

namespace nichelm {

struct Swiglu {
  In x;   // (..., 2 hidden) f32 or bf16
  Out y;  // (..., hidden)   as x

  static constexpr auto fields() { return nichelm::fields<Swiglu>("swiglu", {"x", "y"}, &Swiglu::x, &Swiglu::y); }
  void check() const;
};

struct SwigluGradient {
  In dy;   // (..., hidden)   as x
  In x;    // (..., 2 hidden)
  Out dx;  // as x

  static constexpr auto fields() { return nichelm::fields<SwigluGradient>("swiglu_gradient", {"dy", "x", "dx"}, &SwigluGradient::dy, &SwigluGradient::x, &SwigluGradient::dx); }
  void check() const;
};

}  // namespace nichelm
