// The inner loops of clustering for one instruction set; the compiler vectorises them. Sums over a row go in kSumLanes lanes, then pairwise.
#include <cmath>

#include "cluster/candidates.h"
#include "cluster/kernels.h"
#include "cluster/nearest.h"
#include "runtime/bf16.h"

namespace nichelm::cluster {
namespace {

constexpr int64_t kSumLanes = 16;

// Columns are taken kBlock at a time, so that a block of y stays in registers while the row's terms are added.
constexpr int64_t kBlock = 64;

void sparse_rows(const SparseView& a, const float* x, float* y, int64_t width, int64_t first, int64_t last) {
  for (int64_t r = first; r < last; ++r) {
    float* out = y + r * width;
    int64_t j = 0;
    for (; j + kBlock <= width; j += kBlock) {
      float sum[kBlock] = {};
      for (int64_t i = a.offset[r]; i < a.offset[r + 1]; ++i) {
        const float* in = x + a.column[i] * width + j;
        for (int64_t k = 0; k < kBlock; ++k) sum[k] += a.value[i] * in[k];
      }
      for (int64_t k = 0; k < kBlock; ++k) out[j + k] = sum[k];
    }
    if (j == width) continue;
    for (int64_t k = j; k < width; ++k) out[k] = 0;
    for (int64_t i = a.offset[r]; i < a.offset[r + 1]; ++i) {
      const float* in = x + a.column[i] * width;
      for (int64_t k = j; k < width; ++k) out[k] += a.value[i] * in[k];
    }
  }
}

void gram(const float* x, int64_t rows, int64_t width, double* g, double* scratch) {
  constexpr int64_t kRows = 4, kColumns = kGramColumns;
  const int64_t padded = gram_width(width);
  double* block = scratch;                       // (kGramRows, padded)
  double* sums = scratch + kGramRows * padded;   // (padded, padded), on and above the diagonal
  for (int64_t i = 0; i < padded * padded; ++i) sums[i] = 0;
  for (int64_t r = 0; r < rows; r += kGramRows) {
    const int64_t count = rows - r < kGramRows ? rows - r : kGramRows;
    for (int64_t b = 0; b < count; ++b)
      for (int64_t j = 0; j < padded; ++j) block[b * padded + j] = j < width ? static_cast<double>(x[(r + b) * width + j]) : 0.0;
    for (int64_t i = 0; i < padded; i += kRows)
      for (int64_t j = i / kColumns * kColumns; j < padded; j += kColumns) {
        double sum[kRows][kColumns] = {};
        for (int64_t b = 0; b < count; ++b) {
          const double* row = block + b * padded;
          for (int64_t k = 0; k < kRows; ++k)
            for (int64_t l = 0; l < kColumns; ++l) sum[k][l] += row[i + k] * row[j + l];
        }
        for (int64_t k = 0; k < kRows; ++k)
          for (int64_t l = 0; l < kColumns; ++l) sums[(i + k) * padded + j + l] += sum[k][l];
      }
  }
  for (int64_t i = 0; i < width; ++i)
    for (int64_t j = 0; j < width; ++j) g[i * width + j] = i <= j ? sums[i * padded + j] : sums[j * padded + i];
}

void sum_rows(const float* x, int64_t width, const int32_t* rows, int64_t count, double* sum) {
  for (int64_t j = 0; j < width; ++j) sum[j] = 0;
  for (int64_t i = 0; i < count; ++i) {
    const float* row = x + rows[i] * width;
    for (int64_t j = 0; j < width; ++j) sum[j] += static_cast<double>(row[j]);
  }
}

NICHELM_INLINE float sum_of_squares(const float* x, int64_t width) {
  float lane[kSumLanes] = {};
  int64_t i = 0;
  for (; i + kSumLanes <= width; i += kSumLanes)
    for (int64_t l = 0; l < kSumLanes; ++l) lane[l] += x[i + l] * x[i + l];
  for (int64_t l = 0; i < width; ++i, ++l) lane[l] += x[i] * x[i];
  for (int64_t half = kSumLanes / 2; half > 0; half /= 2)
    for (int64_t l = 0; l < half; ++l) lane[l] += lane[l + half];
  return lane[0];
}

void normalise(float* x, int64_t rows, int64_t width) {
  for (int64_t r = 0; r < rows; ++r) {
    float* row = x + r * width;
    const float squares = sum_of_squares(row, width);
    if (squares == 0) continue;
    const float scale = 1 / std::sqrt(squares);
    for (int64_t j = 0; j < width; ++j) row[j] *= scale;
  }
}

void squared_norms(const float* x, int64_t rows, int64_t width, float* squares) {
  for (int64_t r = 0; r < rows; ++r) squares[r] = sum_of_squares(x + r * width, width);
}

void pack_centroids(const float* centroids, int64_t clusters, int64_t width, int64_t first, int64_t last, float* packed, float* squares) {
  pack_centres(centroids, clusters, width, first, last, packed);
  for (int64_t c = first; c < last; ++c) squares[c] = c < clusters ? sum_of_squares(centroids + c * width, width) : INFINITY;  // never the nearest
}

void nearest(const float* x, int64_t rows, int64_t width, const float* packed, const float* centre_squares, int64_t clusters, float* scratch, int32_t* label, float* distance) {
  least_terms(x, rows, width, packed, centre_squares, clusters, scratch, label, distance);
  for (int64_t r = 0; r < rows; ++r) {
    const float d = sum_of_squares(x + r * width, width) + distance[r];
    distance[r] = d < 0 ? 0 : d;  // rounding can go below; NaN stays
  }
}

}  // namespace

#define NICHELM_JOIN(a, b) a##b
#define NICHELM_KERNELS(isa) NICHELM_JOIN(kernels_, isa)
extern const Kernels NICHELM_KERNELS(NICHELM_ISA);
const Kernels NICHELM_KERNELS(NICHELM_ISA) = {sparse_rows, gram, sum_rows, normalise, squared_norms, pack_centroids, nearest, sums_left, lower_least};

}  // namespace nichelm::cluster
