#include "ops/matmul/matmul.h"

namespace nichelm {
namespace {

void check_operands(const Tensor& a, const Tensor& b, int64_t inner_a, int64_t inner_b) {
  require(a.type == Type::f32 || a.type == Type::bf16, "matmul: a must be f32 or bf16");
  require(b.type == a.type, "matmul: b must have the type of a");
  require(a.axes >= 1 && b.axes >= 1, "matmul: a and b must have at least one axis");
  require(inner_a == inner_b, "matmul: a and b must agree in the size that the product sums over (a's columns and b's rows, as transposed)");
}

// A product can be seen as any shape that ends in n columns.
void check_result(const Tensor& t, int64_t m, int64_t n, const char* what) {
  // Divided, since the product of m and n can overflow where a and b are empty.
  require(t.axes >= 1 && (m == 0 || n == 0 ? t.size() == 0 : t.width() == n && t.size() / n == m), what);
}

void check_stack(const Tensor& b, bool transpose_a, int64_t rows, int64_t groups) {
  require(b.axes <= 3, "matmul: b must be a matrix or a stack of matrices");
  if (b.axes < 3) return;
  require(!transpose_a, "matmul: with a stack for b, a cannot be transposed");
  require(groups > 0 && rows % groups == 0, "matmul: the rows of a must split into as many equal parts as b has matrices");
}

}  // namespace

void Matmul::check() const {
  check_operands(a, b, k(), transpose_b ? b.width() : stacked_rows(b));
  check_stack(b, transpose_a, m(), groups());
  require(c.type == Type::f32 || c.type == a.type, "matmul: c must be f32 or have the type of a");
  check_result(c, m(), n(), "matmul: c must hold a row for each row of a (as transposed) and a column for each column of b (as transposed)");
  if (bias.present()) require(bias.type == Type::f32 && bias.size() == n(), "matmul: bias must hold one f32 for each column of c");
  if (gelu_of.present()) {
    require(gelu_of.type == c.type, "matmul: gelu_of must have the type of c");
    check_result(gelu_of, m(), n(), "matmul: gelu_of must have the shape of c");
  }
  if (residual.present()) {
    require(residual.type == c.type, "matmul: residual must have the type of c");
    check_result(residual, m(), n(), "matmul: residual must have the shape of c");
  }
  if (pre.present()) {
    require(gelu, "matmul: pre is kept for a gelu and needs gelu to be set");
    require(pre.type == c.type, "matmul: pre must have the type of c");
    check_result(pre, m(), n(), "matmul: pre must have the shape of c");
  }
}

void MatmulSwiglu::check() const {
  check_operands(a, b, k(), transpose_b ? b.width() : stacked_rows(b));
  check_stack(b, false, m(), groups());
  require(n() % 2 == 0, "matmul_swiglu: b must have as many columns (as transposed) for gates as for what they let pass");
  require(c.type == a.type, "matmul_swiglu: c must have the type of a");
  check_result(c, m(), n() / 2, "matmul_swiglu: c must hold a row for each row of a and half as many columns as b (as transposed)");
  if (bias.present()) require(bias.type == Type::f32 && bias.size() == n(), "matmul_swiglu: bias must hold one f32 for each column of b (as transposed)");
  if (!pre.present()) return;
  require(pre.type == a.type, "matmul_swiglu: pre must have the type of a");
  check_result(pre, m(), n(), "matmul_swiglu: pre must hold a row for each row of a and a column for each column of b (as transposed)");
}

void MatmulSwigluGradient::check() const {
  check_operands(a, b, k(), transpose_b ? b.width() : stacked_rows(b));
  check_stack(b, false, m(), groups());
  for (const Tensor* t : {static_cast<const Tensor*>(&x), static_cast<const Tensor*>(&dx)}) {
    require(t->type == a.type, "matmul_swiglu_gradient: x and dx must have the type of a");
    check_result(*t, m(), 2 * n(), "matmul_swiglu_gradient: x and dx must hold a row for each row of a and twice as many columns as b (as transposed)");
  }
  require(x.data != dx.data || x.size() == 0, "matmul_swiglu_gradient: dx must not lie on x");
}

void MatmulAccumulate::check() const {
  check_operands(a, b, k(), transpose_b ? b.width() : transpose_a ? matrix_rows(b) : stacked_rows(b));
  require(c.type == Type::f32, "matmul_accumulate: c must be f32");
  if (!stacked_c()) {
    if (!transpose_a) check_stack(b, transpose_a, m(), groups());
    check_result(c, m(), n(), "matmul_accumulate: c must hold a row for each row of a (as transposed) and a column for each column of b (as transposed)");
    return;
  }
  require(!transpose_b, "matmul_accumulate: with a stack for c, b cannot be transposed");
  require(groups() > 0 && k() % groups() == 0, "matmul_accumulate: the rows of a must split into as many equal parts as c has matrices");
  require(c.shape[1] == m() && c.shape[2] == n(), "matmul_accumulate: c must be a stack of matrices with a row for each column of a and a column for each column of b");
}

}  // namespace nichelm
