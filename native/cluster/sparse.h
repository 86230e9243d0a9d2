// A sparse matrix by rows, and its products with thin dense ones.
#pragma once
#include <vector>

#include "cluster/kernels.h"

namespace nichelm::cluster {

struct Sparse {
  int64_t rows() const { return static_cast<int64_t>(offset.size()) - 1; }
  int64_t columns = 0;
  std::vector<int64_t> offset{0};
  std::vector<int32_t> column;
  std::vector<float> value;
};

Sparse transposed(const Sparse& a);

// y = a x: x (a.columns, width), y (a.rows, width)
void multiply(Cpu& device, const Sparse& a, const float* x, float* y, int64_t width);

// xᵀ x in double, in chunks of rows whose number does not depend on the number of threads; (width, width)
std::vector<double> gram(Cpu& device, const float* x, int64_t rows, int64_t width);

// y = x m through the matrix product: x (rows, width), m (width, columns), y (rows, columns)
void multiply_dense(Cpu& device, const float* x, const float* m, float* y, int64_t rows, int64_t width, int64_t columns);

// Makes the columns of x orthonormal, in place; a column that depends on those before it becomes zero. By the Cholesky factor of the Gram
// matrix, which is in double because it squares the condition. scratch: as large as x.
void orthonormalise(Cpu& device, float* x, float* scratch, int64_t rows, int64_t width);

}  // namespace nichelm::cluster
