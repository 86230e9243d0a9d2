// The oracle: the formula of matmul.h in double, one plain loop after the other. f32 operands only.
#include <cmath>

#include "ops/matmul/matmul.h"

namespace nichelm {
namespace {

// Element (i, j) of the product of the matrices at a and b.
template <class Op> double product(const Op& op, const float* a, const float* b, int64_t k, int64_t i, int64_t j) {
  const int64_t m = op.m(), n = op.n();
  double sum = 0;
  for (int64_t p = 0; p < k; ++p) sum += double(op.transpose_a ? a[p * m + i] : a[i * k + p]) * (op.transpose_b ? b[j * k + p] : b[p * n + j]);
  return sum;
}

// Where b begins that row i of the result is made with.
template <class Op> const float* matrix_of(const Op& op, int64_t i) { return op.b.template as<float>() + i / (op.m() / op.groups()) * op.k() * op.n(); }

const double kScale = std::sqrt(2 / M_PI);

double gelu(double x) { return 0.5 * x * (1 + std::tanh(kScale * (x + 0.044715 * x * x * x))); }

double gelu_derivative(double x) {
  const double t = std::tanh(kScale * (x + 0.044715 * x * x * x));
  return 0.5 * (1 + t) + 0.5 * x * (1 - t * t) * kScale * (1 + 3 * 0.044715 * x * x);
}

}  // namespace

template <> void run(Reference&, const Matmul& op) {
  const int64_t m = op.m(), n = op.n();
  for (int64_t i = 0; i < m; ++i)
    for (int64_t j = 0; j < n; ++j) {
      double y = product(op, op.a.as<float>(), matrix_of(op, i), op.k(), i, j);
      if (op.bias.present()) y += op.bias.as<float>()[j];
      if (op.pre.present()) op.pre.as<float>()[i * n + j] = static_cast<float>(y);
      if (op.gelu) y = gelu(y);
      if (op.gelu_of.present()) y *= gelu_derivative(op.gelu_of.as<float>()[i * n + j]);
      if (op.residual.present()) y += op.residual.as<float>()[i * n + j];
      op.c.as<float>()[i * n + j] = static_cast<float>(y);
    }
}

template <> void run(Reference&, const MatmulSwiglu& op) {
  const int64_t m = op.m(), n = op.n(), hidden = n / 2;
  for (int64_t i = 0; i < m; ++i)
    for (int64_t j = 0; j < hidden; ++j) {
      double y[2];
      for (int64_t half : {0, 1}) {
        const int64_t column = half * hidden + j;
        y[half] = product(op, op.a.as<float>(), matrix_of(op, i), op.k(), i, column);
        if (op.bias.present()) y[half] += op.bias.as<float>()[column];
        if (op.pre.present()) op.pre.as<float>()[i * n + column] = static_cast<float>(y[half]);
      }
      op.c.as<float>()[i * hidden + j] = static_cast<float>(y[0] / (1 + std::exp(-y[0])) * y[1]);
    }
}

template <> void run(Reference&, const MatmulSwigluGradient& op) {
  const int64_t m = op.m(), n = op.n();
  for (int64_t i = 0; i < m; ++i)
    for (int64_t j = 0; j < n; ++j) {
      const double dy = product(op, op.a.as<float>(), matrix_of(op, i), op.k(), i, j);
      const double gate = op.x.as<float>()[i * 2 * n + j], up = op.x.as<float>()[i * 2 * n + n + j], s = 1 / (1 + std::exp(-gate));
      op.dx.as<float>()[i * 2 * n + j] = static_cast<float>(dy * up * s * (1 + gate * (1 - s)));
      op.dx.as<float>()[i * 2 * n + n + j] = static_cast<float>(dy * gate * s);
    }
}

template <> void run(Reference&, const MatmulAccumulate& op) {
  const int64_t m = op.m(), n = op.n(), matrices = op.stacked_c() ? op.groups() : 1, k = op.k() / matrices;
  for (int64_t g = 0; g < matrices; ++g)
    for (int64_t i = 0; i < m; ++i)
      for (int64_t j = 0; j < n; ++j) {
        float& c = op.c.as<float>()[(g * m + i) * n + j];
        c = static_cast<float>(c + product(op, op.a.as<float>() + g * k * m, op.stacked_c() ? op.b.as<float>() + g * k * n : matrix_of(op, i), k, i, j));
      }
}

}  // namespace nichelm
