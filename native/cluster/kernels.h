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

// Candidates for the next centre of a k-means++ start, and the rows it is chosen among.
struct Candidates {
  const float* candidates;   // (tries, width)
  const float* squares;      // (tries), their squared norms
  int64_t tries, width, rows;
  const float* packed;       // the rows, by pack_centroids
  const float* row_squares;  // (rows)
  const double* least;       // (rows), the squared distance to the nearest centre so far
  float* dots;               // (tries, rows): written
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
  // Centroids first .. last - 1, as `nearest` reads them, and their squared norms; first and last are multiples of kNearestColumns. Behind the last
  // centroid there are such that are never the nearest. packed: nearest_columns(clusters) * width floats, squares: nearest_columns(clusters)
  void (*pack_centroids)(const float* centroids, int64_t clusters, int64_t width, int64_t first, int64_t last, float* packed, float* squares);
  // label[r] = the c that minimises |x[r] - c|² = |x[r]|² - 2 x[r] · c + |c|² (of several, the first), distance[r] = that, at least 0.
  // scratch: nearest_scratch(rows, width) floats
  void (*nearest)(const float* x, int64_t rows, int64_t width, const float* packed, const float* centre_squares, int64_t clusters, float* scratch, int32_t* label, float* distance);
  // sums[t] = the sum over rows first .. last - 1 of min(least[i], |x[i] - candidate t|²), in double; first is a multiple of kNearestColumns. Writes these
  // rows' dots. scratch: kNearestRows * width floats
  void (*sums_left)(const Candidates& of, int64_t first, int64_t last, float* scratch, double* sums);
  // least[i] = min(least[i], |x[i]|² + square - 2 dots[i]), that at least 0
  void (*lower_least)(const float* dots, const float* row_squares, float square, int64_t rows, double* least);
};
const Kernels& kernels_for(Isa isa);

constexpr int64_t kNearestColumns = 32;  // of centroids in a panel, or a multiple of it
constexpr int64_t nearest_columns(int64_t clusters) { return (clusters + kNearestColumns - 1) / kNearestColumns * kNearestColumns; }
constexpr int64_t kNearestLanes = 16, kNearestRows = 14;  // at most, of a register and of a panel
constexpr int64_t nearest_scratch(int64_t rows, int64_t width) { return (rows + kNearestRows) * (width + 2 * kNearestLanes); }

constexpr int64_t kGramRows = 64;    // rows converted to double at a time
constexpr int64_t kGramColumns = 8;  // widths are rounded up to this there
constexpr int64_t gram_width(int64_t width) { return (width + kGramColumns - 1) / kGramColumns * kGramColumns; }
constexpr int64_t gram_scratch(int64_t width) { return (kGramRows + gram_width(width)) * gram_width(width); }

}  // namespace nichelm::cluster
