// Eigenvalues and eigenvectors of a small symmetric matrix, in double.
#pragma once
#include <cstdint>
#include <vector>

namespace nichelm::cluster {

struct Eigen {
  std::vector<double> values;   // (n), descending
  std::vector<double> vectors;  // (n, n): column j belongs to values[j]
};

// a (n, n) symmetric; only finite values. By Householder reduction to a tridiagonal matrix and the QL method with implicit shifts
// (Golub & Van Loan, Matrix Computations, 8.3). Throws Error if it does not converge, which finite values do not do.
Eigen eigen_symmetric(std::vector<double> a, int64_t n);

}  // namespace nichelm::cluster
