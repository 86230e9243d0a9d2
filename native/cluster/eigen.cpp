#include "cluster/eigen.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "runtime/error.h"

namespace nichelm::cluster {
namespace {

// A symmetric matrix as Q T Qᵀ, T tridiagonal.
struct Tridiagonal {
  std::vector<double> diagonal;  // (n)
  std::vector<double> beside;    // (n): beside[i] couples i and i + 1; the last is 0
  std::vector<double> q;         // (n, n), transposed: row j is column j of Q
};

// Column by column, a reflection I - tau v vᵀ brings what is below the subdiagonal to zero.
Tridiagonal reduce(std::vector<double> a, int64_t n) {
  Tridiagonal t{std::vector<double>(n), std::vector<double>(n), std::vector<double>(n * n)};
  std::vector<double> v(n), p(n);
  for (int64_t i = 0; i < n; ++i) t.q[i * n + i] = 1;
  for (int64_t c = 0; c + 1 < n; ++c) {
    double norm = 0;
    for (int64_t i = c + 1; i < n; ++i) norm = std::hypot(norm, a[i * n + c]);
    t.beside[c] = a[(c + 1) * n + c];
    if (norm == 0 || norm == std::abs(t.beside[c])) continue;
    const double alpha = t.beside[c] > 0 ? -norm : norm;
    for (int64_t i = c + 1; i < n; ++i) v[i] = a[i * n + c];
    v[c + 1] -= alpha;
    double vv = 0;
    for (int64_t i = c + 1; i < n; ++i) vv += v[i] * v[i];
    const double tau = 2 / vv;
    // a <- H a H = a - v wᵀ - w vᵀ with p = tau a v, w = p - (tau/2)(pᵀ v) v
    double pv = 0;
    for (int64_t i = c + 1; i < n; ++i) {
      double sum = 0;
      for (int64_t j = c + 1; j < n; ++j) sum += a[i * n + j] * v[j];
      p[i] = tau * sum;
      pv += p[i] * v[i];
    }
    for (int64_t i = c + 1; i < n; ++i) p[i] -= tau / 2 * pv * v[i];
    for (int64_t i = c + 1; i < n; ++i)
      for (int64_t j = c + 1; j < n; ++j) a[i * n + j] -= v[i] * p[j] + p[i] * v[j];
    t.beside[c] = alpha;
    // Q <- Q H; q holds Qᵀ, so its rows c + 1 .. are mixed: q <- H q
    std::fill(p.begin(), p.end(), 0.0);
    for (int64_t i = c + 1; i < n; ++i)
      for (int64_t j = 0; j < n; ++j) p[j] += v[i] * t.q[i * n + j];
    for (int64_t i = c + 1; i < n; ++i)
      for (int64_t j = 0; j < n; ++j) t.q[i * n + j] -= tau * v[i] * p[j];
  }
  for (int64_t i = 0; i < n; ++i) t.diagonal[i] = a[i * n + i];
  return t;
}

// Rotates the couplings away; afterwards diagonal holds the eigenvalues and row j of q the eigenvector of diagonal[j].
void diagonalise(Tridiagonal& t, int64_t n) {
  auto& [d, e, q] = t;
  for (int64_t l = 0; l < n; ++l)
    for (int round = 0;; ++round) {
      int64_t m = l;
      while (m + 1 < n && std::abs(e[m]) > 2.3e-16 * (std::abs(d[m]) + std::abs(d[m + 1]))) ++m;
      if (m == l) break;
      if (round == 100) fail(ErrorCode::data, "the eigenvalues of the text's term matrix could not be found");
      double g = (d[l + 1] - d[l]) / (2 * e[l]);
      g = d[m] - d[l] + e[l] / (g + std::copysign(std::hypot(g, 1.0), g));
      double s = 1, c = 1, p = 0;
      int64_t i = m - 1;
      for (; i >= l; --i) {
        const double f = s * e[i], b = c * e[i], r = std::hypot(f, g);
        e[i + 1] = r;
        if (r == 0) {
          d[i + 1] -= p;
          e[m] = 0;
          break;
        }
        s = f / r, c = g / r;
        g = d[i + 1] - p;
        const double h = (d[i] - g) * s + 2 * c * b;
        p = s * h;
        d[i + 1] = g + p;
        g = c * h - b;
        double *upper = &q[(i + 1) * n], *lower = &q[i * n];
        for (int64_t k = 0; k < n; ++k) {
          const double x = upper[k];
          upper[k] = s * lower[k] + c * x;
          lower[k] = c * lower[k] - s * x;
        }
      }
      if (i >= l) continue;
      d[l] -= p;
      e[l] = g;
      e[m] = 0;
    }
}

}  // namespace

Eigen eigen_symmetric(std::vector<double> a, int64_t n) {
  for (const double x : a)
    if (!std::isfinite(x)) fail(ErrorCode::data, "a matrix of terms holds values that are not finite");
  Tridiagonal t = reduce(std::move(a), n);
  diagonalise(t, n);
  std::vector<int64_t> order(n);
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](int64_t i, int64_t j) { return t.diagonal[i] > t.diagonal[j]; });
  Eigen result{std::vector<double>(n), std::vector<double>(n * n)};
  for (int64_t j = 0; j < n; ++j) {
    result.values[j] = t.diagonal[order[j]];
    for (int64_t i = 0; i < n; ++i) result.vectors[i * n + j] = t.q[order[j] * n + i];
  }
  return result;
}

}  // namespace nichelm::cluster
