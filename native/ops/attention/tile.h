// Products of small packed tiles in registers, as attention needs them: c[m,n] (+)= sum_k a[m,k] b[k,n] in f32, kRows rows of c at a time.
// Operands are words of 32 bits: an f32, or a pair of bf16 that are neighbours along k where the CPU multiplies such pairs.
// b lies in panels of kPanel columns, (panel, k, kPanel): a panel is read from its beginning to its end.
#pragma once
#include <cstdint>
#include <cstring>
#include <type_traits>
#include <utility>

#include "runtime/several.h"
#include "runtime/transpose.h"

namespace nichelm {
namespace {

#if NICHELM_ISA_avx512 || NICHELM_ISA_avx512bf16
constexpr int kRows = 8;
#else
constexpr int kRows = 4;
#endif
constexpr int64_t kPanel = 2 * kLanes;

#if NICHELM_ISA_avx512bf16
template <class T> using Word = std::conditional_t<std::is_same_v<T, Bf16>, uint32_t, float>;
#else
template <class T> using Word = float;
#endif
// How many neighbours along k a word holds.
template <class T> constexpr int64_t kPack = std::is_same_v<Word<T>, float> ? 1 : 2;

constexpr int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }
constexpr int64_t larger(int64_t a, int64_t b) { return a > b ? a : b; }
constexpr int64_t up(int64_t x, int64_t step) { return (x + step - 1) / step * step; }
constexpr int64_t down(int64_t x, int64_t step) { return x / step * step; }

typedef Lanes Vector;
typedef int32_t Integers __attribute__((vector_size(kLanes * 4)));

template <class V, class X> NICHELM_INLINE V load(const X* x) {
  V v;
  std::memcpy(&v, x, sizeof(V));
  return v;
}
template <class V, class X> NICHELM_INLINE void store(X* x, V v) { std::memcpy(x, &v, sizeof(V)); }
NICHELM_INLINE Vector broadcast(float x) { return x - Vector{}; }  // exact for every x, so no subtraction is left

// One lane of every word: c + a b, or c + a[0] b[0] + a[1] b[1].
NICHELM_INLINE void multiply_add(float a, const float* b, Vector* c, int count) {
  const Vector x = broadcast(a);
  for (int v = 0; v < count; ++v) c[v] += x * load<Vector>(b + v * kLanes);
}
#if NICHELM_ISA_avx512bf16
NICHELM_INLINE void multiply_add(uint32_t a, const uint32_t* b, Vector* c, int count) {
  const __m512bh x = reinterpret_cast<__m512bh>(_mm512_set1_epi32(static_cast<int>(a)));
  for (int v = 0; v < count; ++v) c[v] = reinterpret_cast<Vector>(_mm512_dpbf16_ps(reinterpret_cast<__m512>(c[v]), x, load<__m512bh>(b + v * kLanes)));
}
#endif

// c is overwritten, added to, or scaled row by row and added to.
enum class Into { zero, sum, scaled };

// kRows rows and kVectors vectors of c; a[m, k] is a[m kA + k kAk]; b points to a column of a panel; k in words.
template <Into kInto, int kVectors, int64_t kAm, int64_t kAk, class W>
NICHELM_INLINE void tile_product(const W* a, const W* b, int64_t k, float* c, int64_t c_stride, const float* scale) {
  Vector sum[kRows][kVectors];
#pragma GCC unroll 8
  for (int m = 0; m < kRows; ++m)
#pragma GCC unroll 2
    for (int v = 0; v < kVectors; ++v) {
      if constexpr (kInto == Into::zero) sum[m][v] = Vector{};
      else sum[m][v] = load<Vector>(c + m * c_stride + v * kLanes);
      if constexpr (kInto == Into::scaled) sum[m][v] *= broadcast(scale[m]);
    }
  for (int64_t i = 0; i < k; ++i, a += kAk, b += kPanel) {
#pragma GCC unroll 8
    for (int m = 0; m < kRows; ++m) multiply_add(a[m * kAm], b, sum[m], kVectors);
  }
#pragma GCC unroll 8
  for (int m = 0; m < kRows; ++m)
#pragma GCC unroll 2
    for (int v = 0; v < kVectors; ++v) store(c + m * c_stride + v * kLanes, sum[m][v]);
}

// c[m, n] = sum_k a[k, m] b[k, n] for columns first <= n < last, multiples of kLanes. a: a column of a panel, b: panels, both k words deep.
template <class W> void score_tile(const W* a, const W* b, int64_t k, int64_t first, int64_t last, float* c, int64_t c_stride) {
  for (int64_t n = first; n < last;) {
    const W* at = b + n / kPanel * kPanel * k + n % kPanel;
    if (n % kPanel == 0 && n + kPanel <= last) tile_product<Into::zero, 2, 1, kPanel>(a, at, k, c + n, c_stride, nullptr), n += kPanel;
    else tile_product<Into::zero, 1, 1, kPanel>(a, at, k, c + n, c_stride, nullptr), n += kLanes;
  }
}

// c[m, 0..width) (+)= sum_k a[m, k] b[k, n]: width a multiple of kLanes, b's panels panel_size words apart.
template <Into kInto, int64_t kAm, int64_t kAk, class W>
void sum_tile(const W* a, const W* b, int64_t panel_size, int64_t k, int64_t width, float* c, const float* scale = nullptr) {
  int64_t n = 0;
  for (; n + kPanel <= width; n += kPanel, b += panel_size) tile_product<kInto, 2, kAm, kAk>(a, b, k, c + n, width, scale);
  if (n < width) tile_product<kInto, 1, kAm, kAk>(a, b, k, c + n, width, scale);
}

// What exponents are counted in: powers of e, or for bf16 of 2, which saves a product for each. (For f32 the rounding of a score in powers of 2 would show.)
template <class T> constexpr float kPowers = sizeof(T) == 2 ? 1.44269504088896341f : 1.0f;

// The power of what is counted so, for x up to 88; below -87.7 (in powers of e) exactly 0. Its relative error is below 1e-7 (1 + |x|), for bf16 below 1e-4.
// NaN gives NaN. The polynomial for f32 is that of Cephes (exp2f).
template <class T, class X> NICHELM_INLINE X power_of(X x) {
  constexpr float shift = 12582912.0f + 127.0f;  // 1.5 2^23: adding it rounds to an integer; 127: the low bits are an exponent, 0 for 2^-127
  const X y = at_least(sizeof(T) == 2 ? x : x * kPowers<Bf16>, -127.0f), t = y + shift, f = y - (t - shift);
  X p;
  if constexpr (sizeof(T) == 2) {
    p = power_of_fraction<T>(f);
  } else {
    p = 1.535336188319500e-4f * f + 1.339887440266574e-3f;
    p = p * f + 9.618437357674640e-3f;
    p = p * f + 5.550332471162809e-2f;
    p = p * f + 2.402264791363012e-1f;
    p = p * f + 6.931472028550421e-1f;
    p = p * f + 1.0f;
  }
  return p * power_of_two(t);  // a product, since bits added to those of a NaN could make a number of it
}
template <class T> NICHELM_INLINE Vector power_of(Vector x) { return power_of<T>(Several<1>{x}).part[0]; }

// Lanes of all ones where x is infinite or NaN.
NICHELM_INLINE Integers not_finite(Vector x) {
  const Integers infinite = Integers{} + 0x7f800000;
  return (reinterpret_cast<Integers>(x) & infinite) == infinite;
}
NICHELM_INLINE bool any(Integers lanes) {
  int32_t all = 0;
  for (int64_t l = 0; l < kLanes; ++l) all |= lanes[l];
  return all != 0;
}

// Every kSegment lanes' first halves, those of a before those of b; or their second halves.
template <int kSegment, bool kSecond, int... I> NICHELM_INLINE Vector halves_of(Vector a, Vector b, std::integer_sequence<int, I...>) {
  constexpr int half = kSegment / 2;
  return NICHELM_SHUFFLE(Integers, a, b, (I / half * kSegment + I % half + (kSecond ? half : 0))...);
}
// The lanes of each of kCount vectors (a power of 2) combined by halves, x[i]'s in lane i. One order, whatever kCount.
template <int kCount, int kSegment = kLanes, class Combine> NICHELM_INLINE Vector across_lanes(const Vector* x, const Combine& combine) {
  constexpr std::make_integer_sequence<int, kLanes> lanes;
  if constexpr (kSegment == 1) {
    return x[0];
  } else if constexpr (kCount == 1) {
    const Vector both = combine(halves_of<kSegment, false>(x[0], x[0], lanes), halves_of<kSegment, true>(x[0], x[0], lanes));
    return across_lanes<1, kSegment / 2>(&both, combine);
  } else {
    Vector fewer[kCount / 2];
#pragma GCC unroll 8
    for (int i = 0; i < kCount / 2; ++i)
      fewer[i] = combine(halves_of<kSegment, false>(x[2 * i], x[2 * i + 1], lanes), halves_of<kSegment, true>(x[2 * i], x[2 * i + 1], lanes));
    return across_lanes<kCount / 2, kSegment / 2>(fewer, combine);
  }
}

}  // namespace
}  // namespace nichelm
