// The inner loops of clustering, compiled once for every instruction set. Callers split the work over threads; each function does one
// piece of it, in one order.
#pragma once
#include <cstdint>

#include "runtime/cpu.h"

namespace nichelm::cluster {

// A sparse matrix by rows (CSR): row r holds value[i] in column[i] for offset[r] <= i < offset[r + 1].
struct SparseView {
  const int64_t* offset;
  const int32_t* column;
  const float* value;
};

struct Kernels {
  // y[r] = sum_i value[i] x[column[i]] for rows first .. last - 1; x (columns, width), y (rows, width)
  void (*sparse_rows)(const SparseView& a, const float* x, float* y, int64_t width, int64_t first, int64_t last);
  // g = xᵀ x in double; x (rows, width), g (width, width). scratch: gram_scratch(width) doubles
  void (*gram)(const float* x, int64_t rows, int64_t width, double* g, double* scratch);
  // sum = the sum of the rows of x that are named; sum (width)
  void (*sum_rows)(const float* x, int64_t width, const int32_t* rows, int64_t count, double* sum);
  // Scales each row to length 1; rows of zeros stay. x (rows, width)
  void (*normalise)(float* x, int64_t rows, int64_t width);
  // squares[r] = |x[r]|²
  void (*squared_norms)(const float* x, int64_t rows, int64_t width, float* squares);
  // label[r] = the c that minimises |x[r] - c|² = squares[r] - 2 dots[r,c] + centre_squares[c] (of several, the first), distance[r] = that, at least 0
  void (*nearest)(const float* dots, const float* squares, const float* centre_squares, int64_t rows, int64_t clusters, int32_t* label, float* distance);
};
const Kernels& kernels_for(Isa isa);

constexpr int64_t kGramRows = 64;    // rows converted to double at a time
constexpr int64_t kGramColumns = 8;  // widths are rounded up to this there
constexpr int64_t gram_width(int64_t width) { return (width + kGramColumns - 1) / kGramColumns * kGramColumns; }
constexpr int64_t gram_scratch(int64_t width) { return (kGramRows + gram_width(width)) * gram_width(width); }

}  // namespace nichelm::cluster
