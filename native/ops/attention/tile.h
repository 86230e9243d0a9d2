// Products of small packed tiles in registers, as attention needs them: c[m,n] (+)= sum_k a[m,k] b[k,n] in f32, kRows rows of c at a time.
// Operands are words of 32 bits: an f32, or a pair of bf16 that are neighbours along k where the CPU multiplies such pairs.
// b lies in panels of kPanel columns, (panel, k, kPanel): a panel is read from its beginning to its end.
#pragma once
#include <cstdint>
#include <cstring>
#include <type_traits>
#include <utility>

#if NICHELM_ISA_avx512bf16
#include <immintrin.h>
#endif

#include "runtime/bf16.h"

namespace nichelm {
namespace {

#if NICHELM_ISA_avx512 || NICHELM_ISA_avx512bf16
constexpr int64_t kLanes = 16, kRows = 8;
#elif NICHELM_ISA_avx2
constexpr int64_t kLanes = 8, kRows = 4;
#else
constexpr int64_t kLanes = 4, kRows = 4;
#endif
constexpr int64_t kPanel = 2 * kLanes;

#if NICHELM_ISA_avx512bf16
template <class T> using Word = std::conditional_t<std::is_same_v<T, Bf16>, uint32_t, float>;
#else
template <class T> using Word = float;
#endif
// How many neighbours along k a word holds.
template <class T> constexpr int64_t kPack = std::is_same_v<Word<T>, float> ? 1 : 2;

constexpr int64_t up(int64_t x, int64_t step) { return (x + step - 1) / step * step; }
constexpr int64_t down(int64_t x, int64_t step) { return x / step * step; }

typedef float Vector __attribute__((vector_size(kLanes * 4)));
typedef int32_t Integers __attribute__((vector_size(kLanes * 4)));
typedef uint16_t Halves __attribute__((vector_size(kLanes * 2)));

// Lanes of a and b by constant indices; Mask is the integer vector of their shape.
#ifdef __clang__
#define NICHELM_SHUFFLE(Mask, a, b, ...) __builtin_shufflevector(a, b, __VA_ARGS__)
#else
#define NICHELM_SHUFFLE(Mask, a, b, ...) __builtin_shuffle(a, b, Mask{__VA_ARGS__})
#endif

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

// e^x = 2^(x log2 e) for x up to 88; below -87.3 exactly 0. Its relative error is below 1e-7 (1 + |x|). NaN gives NaN.
// Leaner than exp_fast, which need not hold its argument below 0. The polynomial is that of Cephes (exp2f).
NICHELM_INLINE Vector exp_vector(Vector argument) {
  const Vector x = argument * 1.44269504088896341f;
  const Vector least = broadcast(-126.0f), shift = broadcast(12582912.0f + 127.0f);  // 1.5 2^23: adding it rounds to an integer; 127: the low bits are an exponent
  const Vector y = x < least ? least : x;
  const Vector t = y + shift;
  const Vector f = y - (t - shift);
  Vector p = broadcast(1.535336188319500e-4f);
  p = p * f + 1.339887440266574e-3f;
  p = p * f + 9.618437357674640e-3f;
  p = p * f + 5.550332471162809e-2f;
  p = p * f + 2.402264791363012e-1f;
  p = p * f + 6.931472028550421e-1f;
  p = p * f + 1.0f;
  const Vector power = p * reinterpret_cast<Vector>(reinterpret_cast<Integers>(t) << 23);  // a product, since bits added to those of a NaN could make a number of it
  return x < least ? Vector{} : power;
}

// The vector turned by kBy lanes.
template <int kBy, int... I> NICHELM_INLINE Vector turned(Vector v, std::integer_sequence<int, I...>) { return NICHELM_SHUFFLE(Integers, v, v, ((I + kBy) % static_cast<int>(kLanes))...); }

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

// Over all lanes, halving: one order for each number of lanes.
template <int kHalf = kLanes / 2> NICHELM_INLINE float sum_of(Vector v) {
  v += turned<kHalf>(v, std::make_integer_sequence<int, kLanes>{});
  if constexpr (kHalf > 1) return sum_of<kHalf / 2>(v);
  else return v[0];
}
template <int kHalf = kLanes / 2> NICHELM_INLINE float largest_of(Vector v) {
  const Vector other = turned<kHalf>(v, std::make_integer_sequence<int, kLanes>{});
  v = v > other ? v : other;
  if constexpr (kHalf > 1) return largest_of<kHalf / 2>(v);
  else return v[0];
}

}  // namespace
}  // namespace nichelm
