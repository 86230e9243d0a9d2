// Inner products of some rows with some others: each register that is read serves several of them.
#pragma once
#include "runtime/lanes.h"

namespace nichelm {
namespace {

constexpr int kDotsA = 4, kDotsB = kLanes == 16 ? 4 : 2;  // as many sums as there are registers for

// Rows of floats, `stride` apart. What lies `ahead` of each element is asked for, to have come from memory when its turn comes; 0: it is there.
struct Rows {
  const float* data;
  int64_t stride, ahead = 0;
  const float* row(int64_t i) const { return data + i * stride; }
};

template <int A, int B> NICHELM_INLINE void add_dots_of(const Rows& a, const Rows& b, int64_t count, double* sums, int64_t stride) {
  Lanes sum[A][B] = {};
  over_lanes(count, [&](int64_t i, auto lanes) NICHELM_INLINE_LAMBDA {
    Lanes x[A];
#pragma GCC unroll 4
    for (int p = 0; p < A; ++p) x[p] = load(a.row(p) + i, lanes);
#pragma GCC unroll 4
    for (int q = 0; q < B; ++q) {
      const Lanes y = load(b.row(q) + i, lanes);
      if (b.ahead) __builtin_prefetch(b.row(q) + i + b.ahead, 0, 2);
#pragma GCC unroll 4
      for (int p = 0; p < A; ++p) sum[p][q] += x[p] * y;
    }
  });
#pragma GCC unroll 4
  for (int p = 0; p < A; ++p)
#pragma GCC unroll 4
    for (int q = 0; q < B; ++q) sums[p * stride + q] += double{sum_of(sum[p][q])};
}

template <int A> void add_dots_of(const Rows& a, const Rows& b, int64_t b_rows, int64_t count, double* sums, int64_t stride) {
  int64_t q = 0;
  for (; q + kDotsB <= b_rows; q += kDotsB) add_dots_of<A, kDotsB>(a, {b.row(q), b.stride, b.ahead}, count, sums + q, stride);
  for (; q < b_rows; ++q) add_dots_of<A, 1>(a, {b.row(q), b.stride, b.ahead}, count, sums + q, stride);
}

// sums[p * stride + q] += <a row p, b row q> over `count` elements: in f32 here, so count is to be some thousands at most; the sums are double.
void add_dots(const Rows& a, int64_t a_rows, const Rows& b, int64_t b_rows, int64_t count, double* sums, int64_t stride) {
  int64_t p = 0;
  const auto once = [&](int64_t row) { return Rows{b.data, b.stride, row ? 0 : b.ahead}; };
  for (; p + kDotsA <= a_rows; p += kDotsA) add_dots_of<kDotsA>({a.row(p), a.stride}, once(p), b_rows, count, sums + p * stride, stride);
  for (; p < a_rows; ++p) add_dots_of<1>({a.row(p), a.stride}, once(p), b_rows, count, sums + p * stride, stride);
}

}  // namespace
}  // namespace nichelm
