// Rotary position embedding (Su et al., arXiv 2104.09864), in the half-split layout of Llama: for every query and key head, with d its width,
//   angle[i] = position · theta^(-2i/d),  0 <= i < d/2;   (y[i], y[i + d/2]) = (x[i] cos - x[i + d/2] sin, x[i + d/2] cos + x[i] sin)
// where position is the token's index in its document, t - starts[r,t]. Value heads are copied. With inverse the angle is negated: that is the gradient.
#pragma once
#include "runtime/op.h"

namespace nichelm {

struct Rotary {
  In x;          // (rows, length, (heads + 2 kv_heads) d)  f32 or bf16; d even
  In starts;     // (rows, length) i32
  Out y;         // as x
  int64_t heads;
  int64_t kv_heads;
  float theta;   // > 0
  bool inverse;

  static constexpr auto fields() {
    return nichelm::fields<Rotary>("rotary", {"x", "starts", "y", "heads", "kv_heads", "theta", "inverse"}, &Rotary::x, &Rotary::starts, &Rotary::y, &Rotary::heads, &Rotary::kv_heads, &Rotary::theta,
                                   &Rotary::inverse);
  }
  void check() const;
};

}  // namespace nichelm
