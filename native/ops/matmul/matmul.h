// Matrix product with its epilogue:
//   c = activation(a · b + bias) · gelu'(gelu_of) + residual,   gelu(x) = x/2 (1 + tanh(sqrt(2/pi) (x + 0.044715 x³)))   (Hendrycks & Gimpel, arXiv 1606.08415, tanh form)
// Every term but a · b is optional. Accumulation is in f32 (of bf16 operands too); sums over k have one order, whatever the number of threads.
#pragma once
#include "runtime/bf16.h"
#include "runtime/op.h"

namespace nichelm {

// Rows of a tensor seen as a matrix, also where it has no columns (k = 0).
NICHELM_INLINE int64_t matrix_rows(const Tensor& t) {
  int64_t rows = 1;
  for (int i = 0; i + 1 < t.axes; ++i) rows *= t.shape[i];
  return rows;
}

struct Matmul {
  In a;                  // (..., k), or (k, m) when transpose_a; f32 or bf16. Leading axes are rows: m of them in all
  In b;                  // (k, n), or (n, k) when transpose_b; as a
  InOptional bias;       // (n) f32
  InOptional gelu_of;    // (m, n) as c: the product is multiplied by gelu's derivative there (the gradient of a gelu before it)
  InOptional residual;   // (m, n) as c
  Out c;                 // (m, n) as a, or f32
  OutOptional pre;       // (m, n) as c: a · b + bias, kept for the backward of the gelu; needs gelu
  bool transpose_a;
  bool transpose_b;
  bool gelu;             // apply gelu after the bias

  static constexpr auto fields() {
    return nichelm::fields<Matmul>("matmul", {"a", "b", "bias", "gelu_of", "residual", "c", "pre", "transpose_a", "transpose_b", "gelu"}, &Matmul::a, &Matmul::b, &Matmul::bias,
                                   &Matmul::gelu_of, &Matmul::residual, &Matmul::c, &Matmul::pre, &Matmul::transpose_a, &Matmul::transpose_b, &Matmul::gelu);
  }
  int64_t k() const { return transpose_a ? matrix_rows(a) : a.width(); }
  int64_t m() const { return transpose_a ? a.width() : matrix_rows(a); }
  int64_t n() const { return transpose_b ? matrix_rows(b) : b.width(); }
  void check() const;
};

// c += a · b: the gradient of a weight, summed over micro-batches.
struct MatmulAccumulate {
  In a;            // (m, k), or (k, m) when transpose_a; f32 or bf16
  In b;            // (k, n), or (n, k) when transpose_b; as a
  Accumulate c;    // (m, n) f32
  bool transpose_a;
  bool transpose_b;

  static constexpr auto fields() {
    return nichelm::fields<MatmulAccumulate>("matmul_accumulate", {"a", "b", "c", "transpose_a", "transpose_b"}, &MatmulAccumulate::a, &MatmulAccumulate::b, &MatmulAccumulate::c,
                                             &MatmulAccumulate::transpose_a, &MatmulAccumulate::transpose_b);
  }
  int64_t k() const { return transpose_a ? matrix_rows(a) : a.width(); }
  int64_t m() const { return transpose_a ? a.width() : matrix_rows(a); }
  int64_t n() const { return transpose_b ? matrix_rows(b) : b.width(); }
  void check() const;
};

}  // namespace nichelm
