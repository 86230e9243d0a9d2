// The part of attention between its products: scores to weights and their gradients, row by row, in the words that tile.h multiplies.
#pragma once
#include <cmath>

#include "ops/attention/tile.h"

namespace nichelm {
namespace {

// kLanes neighbours along a row, from element j.
NICHELM_INLINE void store_row(float* row, int64_t j, Vector x) { store(row + j, x); }
#if NICHELM_ISA_avx512bf16
NICHELM_INLINE void store_row(uint32_t* row, int64_t j, Vector x) { store(row + j / 2, _mm512_cvtneps_pbh(reinterpret_cast<__m512>(x))); }
#endif

// kLanes columns of two rows that are neighbours along the sum's index. block: (rows / kPack, stride); row is even.
NICHELM_INLINE void store_two_rows(float* block, int64_t stride, int64_t row, int64_t j, Vector even, Vector odd) {
  store(block + row * stride + j, even);
  store(block + (row + 1) * stride + j, odd);
}
#if NICHELM_ISA_avx512bf16
template <int... I> NICHELM_INLINE __m512i interleave_halves(__m512bh x, std::integer_sequence<int, I...>) {
  typedef int16_t Pairs __attribute__((vector_size(64)));
  const Pairs halves = reinterpret_cast<Pairs>(x);
  return reinterpret_cast<__m512i>(NICHELM_SHUFFLE(Pairs, halves, halves, (I % 2 ? 16 + I / 2 : I / 2)...));
}
NICHELM_INLINE void store_two_rows(uint32_t* block, int64_t stride, int64_t row, int64_t j, Vector even, Vector odd) {
  const __m512bh both = _mm512_cvtne2ps_pbh(reinterpret_cast<__m512>(odd), reinterpret_cast<__m512>(even));
  store(block + row / 2 * stride + j, interleave_halves(both, std::make_integer_sequence<int, 32>{}));
}
#endif

// The numbers j .. j + kLanes - 1.
NICHELM_INLINE Integers counted_from(int64_t j) {
  Integers lanes{};
  for (int l = 0; l < kLanes; ++l) lanes[l] = l;
  return lanes + static_cast<int32_t>(j);
}
// All ones where from <= j + lane < to.
NICHELM_INLINE Integers lanes_within(int64_t j, int64_t from, int64_t to) {
  const Integers at = counted_from(j);
  return (at >= static_cast<int32_t>(from)) & (at < static_cast<int32_t>(to));
}

// Of a block of keys, those that a query sees (none where from >= to); of a block of queries, those that see a key.
struct Seen { int64_t from, to; };

// Of the columns [first, last), multiples of kLanes, those outside [from, to) are hidden: their weight is e^-inf.
NICHELM_INLINE void hide(float* s, int64_t first, int64_t last, Seen seen) {
  const auto hide_some = [&](int64_t j) NICHELM_INLINE_LAMBDA { store(s + j, lanes_within(j, seen.from, seen.to) ? load<Vector>(s + j) : broadcast(-INFINITY)); };
  int64_t j = first;
  for (; j < seen.from && j < last; j += kLanes) hide_some(j);
  for (j = seen.to > j ? down(seen.to, kLanes) : j; j < last; j += kLanes) hide_some(j);
}

// One value of each of a tile's rows.
NICHELM_INLINE Vector load_rows(const float* x) {
  Vector rows{};
  std::memcpy(&rows, x, kRows * sizeof(float));
  return rows;
}
NICHELM_INLINE void store_rows(float* x, Vector rows) { std::memcpy(x, &rows, kRows * sizeof(float)); }

// A tile's rows of a block of scores to weights e^(scale s - top), as an online softmax: top and total are those of its rows so far, top counted in
// kPowers. The lines of scores and weights are `stride` elements apart. factor: what sums with the former top are to be multiplied by.
template <class T> void weigh(float* s, int64_t stride, int64_t first, int64_t last, const Seen* seen, float scale, float* top, float* total, Word<T>* weights, float* factor) {
  Vector largest[kRows], sum[kRows];
  for (int m = 0; m < kRows; ++m) hide(s + m * stride, first, last, seen[m]);
#pragma GCC unroll 8
  for (int m = 0; m < kRows; ++m) largest[m] = broadcast(-INFINITY);
  for (int64_t j = first; j < last; j += kLanes)
#pragma GCC unroll 8
    for (int m = 0; m < kRows; ++m) largest[m] = larger(load<Vector>(s + m * stride + j), largest[m]);
  const Vector scales = broadcast(scale * kPowers<T>), before = load_rows(top);
  const Vector now = larger(across_lanes<kRows>(largest, [](Vector a, Vector b) NICHELM_INLINE_LAMBDA { return larger(a, b); }) * scales, before);
  const Vector base = now == -INFINITY ? Vector{} : now;  // no score above -inf so far: all weights are 0
  const Vector factors = power_of<float>((before - base) * (1 / kPowers<T>));
  store_rows(top, now), store_rows(factor, factors);
  float shift[kLanes];
  store(shift, base);
  constexpr int kTogether = 4;  // rows at a time: one's latency hides in the others'
#pragma GCC unroll 4
  for (int m = 0; m < kRows; m += kTogether) {
    Vector shifts[kTogether], some[kTogether] = {};
#pragma GCC unroll 8
    for (int l = 0; l < kTogether; ++l) shifts[l] = broadcast(shift[m + l]);
    for (int64_t j = first; j < last; j += kLanes) {
      Several<kTogether> x;
#pragma GCC unroll 8
      for (int l = 0; l < kTogether; ++l) x.part[l] = load<Vector>(s + (m + l) * stride + j) * scales - shifts[l];
      const Several<kTogether> p = power_of<T>(x);
#pragma GCC unroll 8
      for (int l = 0; l < kTogether; ++l) {
        some[l] += p.part[l];
        store_row(weights + (m + l) * (stride / kPack<T>), j, p.part[l]);
      }
    }
#pragma GCC unroll 8
    for (int l = 0; l < kTogether; ++l) sum[m + l] = some[l];
  }
  store_rows(total, load_rows(total) * factors + across_lanes<kRows>(sum, [](Vector a, Vector b) NICHELM_INLINE_LAMBDA { return a + b; }));
}

}  // namespace
}  // namespace nichelm
