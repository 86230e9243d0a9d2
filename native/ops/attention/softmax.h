// The part of attention between its products: scores to weights and their gradients, row by row, in the words that tile.h multiplies.
#pragma once
#include <cmath>

#include "ops/attention/tile.h"
#include "runtime/math.h"

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

// Of the columns [first, last), multiples of kLanes, those outside [from, to) are hidden: their weight is e^-inf.
NICHELM_INLINE void hide(float* s, int64_t first, int64_t last, int64_t from, int64_t to) {
  for (int64_t j = first; j < from && j < last; ++j) s[j] = -INFINITY;
  for (int64_t j = to > first ? to : first; j < last; ++j) s[j] = -INFINITY;
}

// One query's row of a block of scores to weights e^(scale s - top), as an online softmax: top and total are those of the row so far.
// Gives the factor for what was summed with the former top.
template <class W> float weigh(float* s, int64_t first, int64_t last, int64_t from, int64_t to, float scale, float& top, float& total, W* weights) {
  if (from >= to) {
    for (int64_t j = first; j < last; j += kLanes) store_row(weights, j, Vector{});
    return 1;
  }
  hide(s, first, last, from, to);
  Vector largest = load<Vector>(s + first);
  for (int64_t j = first + kLanes; j < last; j += kLanes) {
    const Vector x = load<Vector>(s + j);
    largest = x > largest ? x : largest;
  }
  const float here = largest_of(largest) * scale, before = top;
  top = here > before ? here : before;
  const float base = top == -INFINITY ? 0 : top;  // no score above -inf so far: all weights are 0
  const Vector scales = broadcast(scale), shift = broadcast(base);
  Vector sum{};
  for (int64_t j = first; j < last; j += kLanes) {
    const Vector p = exp_vector(load<Vector>(s + j) * scales - shift);
    sum += p;
    store_row(weights, j, p);
  }
  const float factor = exp_fast(before - base);
  total = total * factor + sum_of(sum);
  return factor;
}

}  // namespace
}  // namespace nichelm
