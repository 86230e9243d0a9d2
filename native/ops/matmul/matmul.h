// Matrix product with its epilogue:
//   c = activation(a · b + bias) · gelu'(gelu_of) + residual,   gelu(x) = x/2 (1 + tanh(sqrt(2/pi) (x + 0.044715 x³)))   (Hendrycks & Gimpel, arXiv 1606.08415, tanh form)
// Every term but a · b is optional. Accumulation is in f32 (of bf16 operands too); sums over k have one order, whatever the number of threads.
// b may be a stack of matrices, one for each of as many equal consecutive parts of a's rows: the products of a projected network, whose groups of rows have
// weights of their own. Every part is computed as if it stood alone, to the bit.
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

// Rows of each matrix of a stack.
NICHELM_INLINE int64_t stacked_rows(const Tensor& t) { return t.axes > 1 ? t.shape[t.axes - 2] : 1; }

struct Matmul {
  In a;                  // (..., k), or (k, m) when transpose_a; f32 or bf16. Leading axes are rows: m of them in all
  In b;                  // (k, n), or (n, k) when transpose_b; as a. Three axes: a stack (groups, k, n) or (groups, n, k), without transpose_a
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
  int64_t groups() const { return b.axes == 3 ? b.shape[0] : 1; }
  int64_t k() const { return transpose_a ? matrix_rows(a) : a.width(); }
  int64_t m() const { return transpose_a ? a.width() : matrix_rows(a); }  // of all groups
  int64_t n() const { return transpose_b ? stacked_rows(b) : b.width(); }
  void check() const;
};

// What a gated linear unit makes of a product, gate and up side by side in it (ops/swiglu/swiglu.h): c[r, i] = silu(y[r, i]) y[r, hidden + i], y = a · b + bias.
// b may be a stack, as in Matmul.
struct MatmulSwiglu {
  In a;             // (..., k) f32 or bf16: m rows in all
  In b;             // (k, 2 hidden), or (2 hidden, k) when transpose_b; as a. Three axes: a stack
  InOptional bias;  // (2 hidden) f32
  Out c;            // (m, hidden) as a
  OutOptional pre;  // (m, 2 hidden) as a: y, kept for the backward pass
  bool transpose_b;
  static constexpr bool transpose_a = false;

  static constexpr auto fields() {
    return nichelm::fields<MatmulSwiglu>("matmul_swiglu", {"a", "b", "bias", "c", "pre", "transpose_b"}, &MatmulSwiglu::a, &MatmulSwiglu::b, &MatmulSwiglu::bias, &MatmulSwiglu::c, &MatmulSwiglu::pre,
                                         &MatmulSwiglu::transpose_b);
  }
  int64_t groups() const { return b.axes == 3 ? b.shape[0] : 1; }
  int64_t k() const { return a.width(); }
  int64_t m() const { return matrix_rows(a); }
  int64_t n() const { return transpose_b ? stacked_rows(b) : b.width(); }  // of the product: 2 hidden
  void check() const;
};

// The gradient of a gated linear unit whose result's gradient is a product, dy = a · b:
// dx[r, i] = dy[r, i] up silu'(gate), dx[r, hidden + i] = dy[r, i] silu(gate) for gate = x[r, i], up = x[r, hidden + i].
struct MatmulSwigluGradient {
  In a;    // (..., k) f32 or bf16: m rows in all
  In b;    // (k, hidden), or (hidden, k) when transpose_b; as a. Three axes: a stack
  In x;    // (m, 2 hidden) as a
  Out dx;  // (m, 2 hidden) as a; not x itself
  bool transpose_b;
  static constexpr bool transpose_a = false;

  static constexpr auto fields() {
    return nichelm::fields<MatmulSwigluGradient>("matmul_swiglu_gradient", {"a", "b", "x", "dx", "transpose_b"}, &MatmulSwigluGradient::a, &MatmulSwigluGradient::b, &MatmulSwigluGradient::x,
                                                 &MatmulSwigluGradient::dx, &MatmulSwigluGradient::transpose_b);
  }
  int64_t groups() const { return b.axes == 3 ? b.shape[0] : 1; }
  int64_t k() const { return a.width(); }
  int64_t m() const { return matrix_rows(a); }
  int64_t n() const { return transpose_b ? stacked_rows(b) : b.width(); }
  void check() const;
};

// c += a · b: the gradient of a weight, summed over micro-batches. A stack of weights is b, as in Matmul, or with transpose_a it is c: (groups, m, n), each with
// the product of its part of a's rows and its part of b's, which both lie in equal consecutive parts.
struct MatmulAccumulate {
  In a;            // (m, k), or (k, m) when transpose_a; f32 or bf16. Leading axes are rows
  In b;            // (k, n), or (n, k) when transpose_b; as a. Without transpose_a, three axes are a stack; with it, leading axes are rows
  Accumulate c;    // (m, n) f32
  bool transpose_a;
  bool transpose_b;

  static constexpr auto fields() {
    return nichelm::fields<MatmulAccumulate>("matmul_accumulate", {"a", "b", "c", "transpose_a", "transpose_b"}, &MatmulAccumulate::a, &MatmulAccumulate::b, &MatmulAccumulate::c,
                                             &MatmulAccumulate::transpose_a, &MatmulAccumulate::transpose_b);
  }
  bool stacked_c() const { return transpose_a && c.axes == 3; }
  int64_t groups() const { return stacked_c() ? c.shape[0] : !transpose_a && b.axes == 3 ? b.shape[0] : 1; }
  int64_t k() const { return transpose_a ? matrix_rows(a) : a.width(); }  // of all groups where c is the stack
  int64_t m() const { return transpose_a ? a.width() : matrix_rows(a); }  // of all groups where b is
  int64_t n() const { return !transpose_b ? b.width() : transpose_a ? matrix_rows(b) : stacked_rows(b); }
  void check() const;
};

}  // namespace nichelm
