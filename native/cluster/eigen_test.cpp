// Eigenvectors of symmetric matrices: they diagonalise the matrix, and are orthonormal.
#include "cluster/eigen.h"

#include <cmath>
#include <limits>
#include <string>

#include "runtime/error.h"
#include "test/test.h"

using namespace nichelm;
using namespace nichelm::cluster;

namespace {

void check(const std::vector<double>& a, int64_t n, const std::string& what) {
  const Eigen e = eigen_symmetric(a, n);
  double scale = 1e-300, residual = 0, skew = 0;
  for (const double x : a) scale = std::max(scale, std::abs(x));
  for (int64_t j = 0; j < n; ++j) {
    EXPECT(j == 0 || e.values[j] <= e.values[j - 1], what + ": values descend");
    for (int64_t i = 0; i < n; ++i) {
      double av = 0, dot = 0;
      for (int64_t k = 0; k < n; ++k) av += a[i * n + k] * e.vectors[k * n + j], dot += e.vectors[k * n + i] * e.vectors[k * n + j];
      residual = std::max(residual, std::abs(av - e.values[j] * e.vectors[i * n + j]) / scale);
      skew = std::max(skew, std::abs(dot - (i == j)));
    }
  }
  EXPECT(residual < 1e-13 * static_cast<double>(n + 1), what + ": residual " + std::to_string(residual));
  EXPECT(skew < 1e-13 * static_cast<double>(n + 1), what + ": not orthonormal by " + std::to_string(skew));
}

std::vector<double> random_symmetric(int64_t n, unsigned seed) {
  const std::vector<float> x = test::normal(n * n, seed);
  std::vector<double> a(x.begin(), x.end());
  for (int64_t i = 0; i < n; ++i)
    for (int64_t j = 0; j < i; ++j) a[i * n + j] = a[j * n + i];
  return a;
}

}  // namespace

TEST(eigen_of_random_matrices) {
  for (const int64_t n : {1, 2, 3, 7, 40, 138}) check(random_symmetric(n, static_cast<unsigned>(n)), n, "random " + std::to_string(n));
}

TEST(eigen_of_special_matrices) {
  check({0, 0, 0, 0}, 2, "zero");
  check({2, 0, 0, 0, 2, 0, 0, 0, 2}, 3, "multiple of one");
  check({0, 1, 1, 0}, 2, "swap");
  std::vector<double> low(25 * 25);  // rank 2, of widely different sizes
  for (int64_t i = 0; i < 25; ++i)
    for (int64_t j = 0; j < 25; ++j) low[i * 25 + j] = 1e6 * std::cos(i) * std::cos(j) + 1e-3 * std::sin(i) * std::sin(j);
  check(low, 25, "rank 2");
  const Eigen e = eigen_symmetric({2, 1, 1, 2}, 2);
  EXPECT(std::abs(e.values[0] - 3) < 1e-14 && std::abs(e.values[1] - 1) < 1e-14, "values 3 and 1");
}

TEST(eigen_refuses_what_is_not_finite) {
  for (const double bad : {std::numeric_limits<double>::quiet_NaN(), std::numeric_limits<double>::infinity()}) try {
      eigen_symmetric({1, bad, bad, 1}, 2);
      EXPECT(false, "it must throw");
    } catch (const Error&) {
    }
}
