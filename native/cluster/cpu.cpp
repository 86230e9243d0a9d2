// The inner loops of clustering for one instruction set; the compiler vectorises them. Sums over a row go in kLanes lanes, then pairwise.
#include <cmath>

#include "cluster/kernels.h"
#include "runtime/bf16.h"

namespace nichelm::cluster {
namespace {

constexpr int64_t kLanes = 16;

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
  float lane[kLanes] = {};
  int64_t i = 0;
  for (; i + kLanes <= width; i += kLanes)
    for (int64_t l = 0; l < kLanes; ++l) lane[l] += x[i + l] * x[i + l];
  for (int64_t l = 0; i < width; ++i, ++l) lane[l] += x[i] * x[i];
  for (int64_t half = kLanes / 2; half > 0; half /= 2)
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

void nearest(const float* dots, const float* squares, const float* centre_squares, int64_t rows, int64_t clusters, int32_t* label, float* distance) {
  for (int64_t r = 0; r < rows; ++r) {
    // The least of every lane with its first place, then the least of all: of equals, the first place.
    float least[kLanes];
    int32_t place[kLanes];
    const float* dot = dots + r * clusters;
    for (int64_t l = 0; l < kLanes; ++l) least[l] = l < clusters ? centre_squares[l] - 2 * dot[l] : INFINITY, place[l] = static_cast<int32_t>(l < clusters ? l : 0);
    int64_t c = kLanes;
    for (; c + kLanes <= clusters; c += kLanes)
      for (int64_t l = 0; l < kLanes; ++l) {
        const float d = centre_squares[c + l] - 2 * dot[c + l];
        const bool less = d < least[l];
        least[l] = less ? d : least[l];
        place[l] = less ? static_cast<int32_t>(c + l) : place[l];
      }
    for (int64_t l = 0; c + l < clusters; ++l) {
      const float d = centre_squares[c + l] - 2 * dot[c + l];
      if (d < least[l]) least[l] = d, place[l] = static_cast<int32_t>(c + l);
    }
    int64_t best = 0;
    for (int64_t l = 1; l < kLanes && l < clusters; ++l)
      if (least[l] < least[best] || (least[l] == least[best] && place[l] < place[best])) best = l;
    const float d = squares[r] + least[best];
    label[r] = place[best];
    distance[r] = d < 0 ? 0 : d;  // rounding can go below; NaN stays
  }
}

}  // namespace

#define NICHELM_JOIN(a, b) a##b
#define NICHELM_KERNELS(isa) NICHELM_JOIN(kernels_, isa)
extern const Kernels NICHELM_KERNELS(NICHELM_ISA);
const Kernels NICHELM_KERNELS(NICHELM_ISA) = {sparse_rows, gram, sum_rows, normalise, squared_norms, nearest};

}  // namespace nichelm::cluster
