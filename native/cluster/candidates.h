// What each of a few candidates for the next centre of a k-means++ start would leave: the sum over a sample of min(least so far, distance to it).
// The sample is packed once for all centres. Local to the file that includes it, as nearest.h, whose tiles these are.
#pragma once
#include "cluster/nearest.h"

namespace nichelm::cluster {
namespace {

constexpr int kSumsAtOnce = 8;  // of double

NICHELM_INLINE double squared_distance(float row_square, float square, float dot) {
  const double d = static_cast<double>(row_square) + static_cast<double>(square) - 2.0 * static_cast<double>(dot);
  return d > 0 ? d : 0;  // rounding can go below
}

// dots[i] = x[i] · candidate for `count` rows of a panel, and their part of the sum
NICHELM_INLINE double left_by(const float* tile, const float* row_squares, float square, const double* least, int64_t count, float* dots) {
  double lane[kSumsAtOnce] = {};
  const auto one = [&](int64_t i) NICHELM_INLINE_LAMBDA {
    const double d = squared_distance(row_squares[i], square, tile[i]);
    dots[i] = tile[i];
    return least[i] < d ? least[i] : d;
  };
  int64_t i = 0;
  for (; i + kSumsAtOnce <= count; i += kSumsAtOnce)
    for (int l = 0; l < kSumsAtOnce; ++l) lane[l] += one(i + l);
  for (int l = 0; i < count; ++i, ++l) lane[l] += one(i);
  double sum = 0;
  for (const double part : lane) sum += part;
  return sum;
}

NICHELM_INLINE void sums_left(const Candidates& of, int64_t first, int64_t last, float* scratch, double* sums) {
  auto* panel = reinterpret_cast<uint32_t*>(scratch);
  const Operand<float> from{of.candidates, of.width, true, of.tries * of.width};
  float tile[kRows * kColumns];
  Ahead nothing;
  for (int64_t t = 0; t < of.tries; ++t) sums[t] = 0;
  for (int64_t t = 0; t < of.tries; t += kRows) {
    const int64_t rows = of.tries - t < kRows ? of.tries - t : int64_t{kRows};
    pack<SingleF32, kRows>(from, t, rows, 0, of.width, panel);
    for (int64_t c = first; c < last; c += kColumns) {
      const int64_t columns = last - c < kColumns ? last - c : int64_t{kColumns};
      micro_kernel_for<SingleF32>(rows, columns)(of.width, panel, reinterpret_cast<const uint32_t*>(of.packed + c * of.width), tile, false, nothing);
      for (int64_t i = 0; i < rows; ++i)
        sums[t + i] += left_by(tile + i * kColumns, of.row_squares + c, of.squares[t + i], of.least + c, columns, of.dots + (t + i) * of.rows + c);
    }
  }
}

NICHELM_INLINE void lower_least(const float* dots, const float* row_squares, float square, int64_t rows, double* least) {
  for (int64_t i = 0; i < rows; ++i) {
    const double d = squared_distance(row_squares[i], square, dots[i]);
    least[i] = least[i] < d ? least[i] : d;
  }
}

}  // namespace
}  // namespace nichelm::cluster
