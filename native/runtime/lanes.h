// As many f32 as one register of the instruction set holds, for kernels that walk a row: whole registers first, then what is left.
// Everything here is local to the file that includes it: kernel files are compiled for several instruction sets.
#pragma once
#include <cstdint>
#include <cstring>

#include "runtime/bf16.h"

#if defined(NICHELM_ISA_avx512) || defined(NICHELM_ISA_avx512bf16) || defined(NICHELM_ISA_avx2)
#include <immintrin.h>
#endif

namespace nichelm {
namespace {

#if defined(NICHELM_ISA_avx512) || defined(NICHELM_ISA_avx512bf16)
constexpr int kLanes = 16;
#elif defined(NICHELM_ISA_avx2)
constexpr int kLanes = 8;
#else
constexpr int kLanes = 4;
#endif

typedef float Lanes __attribute__((vector_size(4 * kLanes)));
typedef uint32_t LaneBits __attribute__((vector_size(4 * kLanes)));
typedef uint16_t HalfLanes __attribute__((vector_size(2 * kLanes)));

// How many lanes of a register are in the row: all of them, or the last few.
struct AllLanes {};
struct SomeLanes { int64_t count; };

#define NICHELM_INLINE_LAMBDA __attribute__((always_inline))

// Calls body(i, AllLanes) for every whole register of a row, then body(i, SomeLanes) for the rest. body must be NICHELM_INLINE_LAMBDA.
template <class Body> NICHELM_INLINE void over_lanes(int64_t width, const Body& body) {
  int64_t i = 0;
  for (; i + kLanes <= width; i += kLanes) body(i, AllLanes{});
  if (i < width) body(i, SomeLanes{width - i});
}

NICHELM_INLINE Lanes lanes_of(float x) { return x - Lanes{}; }

// GCC 12 does these conversions in halves, with shuffles, if left to itself; and it warns of the undefined lanes in the unmasked forms.
#if defined(NICHELM_ISA_avx512) || defined(NICHELM_ISA_avx512bf16)
NICHELM_INLINE LaneBits widen_bits(HalfLanes x) { return reinterpret_cast<LaneBits>(_mm512_maskz_cvtepu16_epi32(0xffff, reinterpret_cast<__m256i>(x))); }
NICHELM_INLINE HalfLanes narrow_bits(LaneBits x) { return reinterpret_cast<HalfLanes>(_mm512_maskz_cvtepi32_epi16(0xffff, reinterpret_cast<__m512i>(x))); }
#elif defined(NICHELM_ISA_avx2)
NICHELM_INLINE LaneBits widen_bits(HalfLanes x) { return reinterpret_cast<LaneBits>(_mm256_cvtepu16_epi32(reinterpret_cast<__m128i>(x))); }
NICHELM_INLINE HalfLanes narrow_bits(LaneBits x) {
  const __m256i packed = _mm256_packus_epi32(reinterpret_cast<__m256i>(x), reinterpret_cast<__m256i>(x));
  return reinterpret_cast<HalfLanes>(_mm256_castsi256_si128(_mm256_permute4x64_epi64(packed, 0x08)));
}
#else
NICHELM_INLINE LaneBits widen_bits(HalfLanes x) { return __builtin_convertvector(x, LaneBits); }
NICHELM_INLINE HalfLanes narrow_bits(LaneBits x) { return __builtin_convertvector(x, HalfLanes); }
#endif

NICHELM_INLINE Lanes load(const float* x, AllLanes) {
  Lanes y;
  std::memcpy(&y, x, sizeof y);
  return y;
}
#if defined(NICHELM_ISA_avx512) || defined(NICHELM_ISA_avx512bf16)
NICHELM_INLINE Lanes load(const Bf16* x, AllLanes) {  // each half to the upper half of its place, by one shuffle in place of two operations
  alignas(64) static constexpr uint16_t kPlace[32] = {0, 0, 0, 1, 0, 2, 0, 3, 0, 4, 0, 5, 0, 6, 0, 7, 0, 8, 0, 9, 0, 10, 0, 11, 0, 12, 0, 13, 0, 14, 0, 15};
  const __m512i half = _mm512_castsi256_si512(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(x)));
  return reinterpret_cast<Lanes>(_mm512_maskz_permutexvar_epi16(0xaaaaaaaa, _mm512_load_si512(kPlace), half));
}
#else
NICHELM_INLINE Lanes load(const Bf16* x, AllLanes) {
  HalfLanes half;
  std::memcpy(&half, x, sizeof half);
  return reinterpret_cast<Lanes>(widen_bits(half) << 16);
}
#endif
// Lanes past the row are 0.
template <class T> NICHELM_INLINE Lanes load(const T* x, SomeLanes some) {
  T row[kLanes] = {};
  for (int64_t l = 0; l < some.count; ++l) row[l] = x[l];
  return load(row, AllLanes{});
}

NICHELM_INLINE void store(Lanes x, float* y, AllLanes) { std::memcpy(y, &x, sizeof x); }
#if defined(NICHELM_ISA_avx512bf16)
NICHELM_INLINE void store(Lanes x, Bf16* y, AllLanes) {  // as narrow() rounds, but that subnormals become 0
  const __m256bh half = _mm512_cvtneps_pbh(reinterpret_cast<__m512>(x));
  std::memcpy(y, &half, sizeof half);
}
#else
NICHELM_INLINE void store(Lanes x, Bf16* y, AllLanes) {  // as narrow() rounds
  const LaneBits bits = reinterpret_cast<LaneBits>(x);
  const LaneBits rounded = (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
  const HalfLanes half = narrow_bits((bits & 0x7fffffff) > 0x7f800000 ? LaneBits{} + 0x7fff : rounded);
  std::memcpy(y, &half, sizeof half);
}
#endif
template <class T> NICHELM_INLINE void store(Lanes x, T* y, SomeLanes some) {
  T row[kLanes];
  store(x, row, AllLanes{});
  for (int64_t l = 0; l < some.count; ++l) y[l] = row[l];
}

// Where results go: into the caches, or past them (non-temporal stores). A line that is written past them is not read from memory first, and pushes nothing out
// of them: a third of the traffic of y = f(x), where both are larger than the caches. Only at multiples of 64 bytes, and drain() before another thread reads it.
enum class Store { cached, streaming };
NICHELM_INLINE void stream(Lanes x, float* y) {
#if defined(NICHELM_ISA_avx512) || defined(NICHELM_ISA_avx512bf16)
  _mm512_stream_ps(y, reinterpret_cast<__m512>(x));
#elif defined(NICHELM_ISA_avx2)
  _mm256_stream_ps(y, reinterpret_cast<__m256>(x));
#else
  store(x, y, AllLanes{});
#endif
}
NICHELM_INLINE void stream(Lanes x, Bf16* y) {
#if defined(NICHELM_ISA_avx512) || defined(NICHELM_ISA_avx512bf16) || defined(NICHELM_ISA_avx2)
  HalfLanes half;
  store(x, reinterpret_cast<Bf16*>(&half), AllLanes{});
#ifdef NICHELM_ISA_avx2
  _mm_stream_si128(reinterpret_cast<__m128i*>(y), reinterpret_cast<__m128i>(half));
#else
  _mm256_stream_si256(reinterpret_cast<__m256i*>(y), reinterpret_cast<__m256i>(half));
#endif
#else
  store(x, y, AllLanes{});
#endif
}
template <Store kStore> NICHELM_INLINE void drain() {
#ifdef __x86_64__
  if constexpr (kStore == Store::streaming) __builtin_ia32_sfence();
#endif
}

// x where the lane is in the row, 0 elsewhere: for sums of what is not 0 at 0.
NICHELM_INLINE Lanes inside(Lanes x, AllLanes) { return x; }
NICHELM_INLINE Lanes inside(Lanes x, SomeLanes some) {
  for (int64_t l = some.count; l < kLanes; ++l) x[l] = 0;
  return x;
}

NICHELM_INLINE float square_root(float x) { return __builtin_sqrtf(x); }
NICHELM_INLINE Lanes square_root(Lanes x) {
#if defined(NICHELM_ISA_avx512) || defined(NICHELM_ISA_avx512bf16)
  return reinterpret_cast<Lanes>(_mm512_maskz_sqrt_ps(0xffff, reinterpret_cast<__m512>(x)));
#elif defined(NICHELM_ISA_avx2)
  return reinterpret_cast<Lanes>(_mm256_sqrt_ps(reinterpret_cast<__m256>(x)));
#else
  for (int l = 0; l < kLanes; ++l) x[l] = __builtin_sqrtf(x[l]);
  return x;
#endif
}

// x, or the bound where x is beyond it; NaN stays. GCC would compare and blend.
NICHELM_INLINE Lanes at_most(Lanes x, float bound) {
#if defined(NICHELM_ISA_avx512) || defined(NICHELM_ISA_avx512bf16)
  return reinterpret_cast<Lanes>(_mm512_maskz_min_ps(0xffff, _mm512_set1_ps(bound), reinterpret_cast<__m512>(x)));
#elif defined(NICHELM_ISA_avx2)
  return reinterpret_cast<Lanes>(_mm256_min_ps(_mm256_set1_ps(bound), reinterpret_cast<__m256>(x)));
#else
  return x > bound ? Lanes{} + bound : x;
#endif
}
NICHELM_INLINE Lanes at_least(Lanes x, float bound) {
#if defined(NICHELM_ISA_avx512) || defined(NICHELM_ISA_avx512bf16)
  return reinterpret_cast<Lanes>(_mm512_maskz_max_ps(0xffff, _mm512_set1_ps(bound), reinterpret_cast<__m512>(x)));
#elif defined(NICHELM_ISA_avx2)
  return reinterpret_cast<Lanes>(_mm256_max_ps(_mm256_set1_ps(bound), reinterpret_cast<__m256>(x)));
#else
  return x < bound ? Lanes{} + bound : x;
#endif
}

// magnitude_at_most: of NaN the bound in some instruction sets.
NICHELM_INLINE Lanes magnitude(Lanes x) { return reinterpret_cast<Lanes>(reinterpret_cast<LaneBits>(x) & 0x7fffffffu); }

NICHELM_INLINE Lanes magnitude_at_most(Lanes x, float bound) {
#if defined(NICHELM_ISA_avx512) || defined(NICHELM_ISA_avx512bf16)
  return reinterpret_cast<Lanes>(_mm512_maskz_range_ps(0xffff, reinterpret_cast<__m512>(x), _mm512_set1_ps(bound), 0xa));  // the lesser of the magnitudes
#else
  return at_most(magnitude(x), bound);
#endif
}

// For each lane the entry of a table whose number stands in the low bits of place; the table begins a line of memory.
NICHELM_INLINE Lanes entry(const float (&table)[16], Lanes place) {
#if defined(NICHELM_ISA_avx512) || defined(NICHELM_ISA_avx512bf16)
  return reinterpret_cast<Lanes>(_mm512_maskz_permutexvar_ps(0xffff, reinterpret_cast<__m512i>(place), _mm512_load_ps(table)));
#elif defined(NICHELM_ISA_avx2)
  const __m256i number = reinterpret_cast<__m256i>(place);
  const __m256 low = _mm256_permutevar8x32_ps(_mm256_load_ps(table), number), high = _mm256_permutevar8x32_ps(_mm256_load_ps(table + 8), number);
  return reinterpret_cast<Lanes>(_mm256_blendv_ps(low, high, reinterpret_cast<__m256>(_mm256_slli_epi32(number, 28))));
#else
  Lanes y;
  for (int l = 0; l < kLanes; ++l) y[l] = table[reinterpret_cast<LaneBits>(place)[l] & 15];
  return y;
#endif
}

// The larger of the two; y where x is NaN.
NICHELM_INLINE Lanes larger(Lanes x, Lanes y) {
#if defined(NICHELM_ISA_avx512) || defined(NICHELM_ISA_avx512bf16)
  return reinterpret_cast<Lanes>(_mm512_maskz_max_ps(0xffff, reinterpret_cast<__m512>(x), reinterpret_cast<__m512>(y)));
#elif defined(NICHELM_ISA_avx2)
  return reinterpret_cast<Lanes>(_mm256_max_ps(reinterpret_cast<__m256>(x), reinterpret_cast<__m256>(y)));
#else
  return x > y ? x : y;
#endif
}

// Pairwise, in one order: the lower half and the upper half, until one is left.
NICHELM_INLINE float sum_of(Lanes x) {
#if defined(NICHELM_ISA_avx512) || defined(NICHELM_ISA_avx512bf16) || defined(NICHELM_ISA_avx2)
#if defined(NICHELM_ISA_avx2)
  const __m256 eight = reinterpret_cast<__m256>(x);
#else
  const __m512 sixteen = reinterpret_cast<__m512>(x);
  const __m256 eight = _mm512_maskz_extractf32x8_ps(0xff, sixteen, 0) + _mm512_maskz_extractf32x8_ps(0xff, sixteen, 1);
#endif
  const __m128 four = _mm256_castps256_ps128(eight) + _mm256_extractf128_ps(eight, 1), two = four + _mm_movehl_ps(four, four);
  return two[0] + two[1];
#else
  float row[kLanes];
  store(x, row, AllLanes{});
  for (int half = kLanes / 2; half > 0; half /= 2)
    for (int l = 0; l < half; ++l) row[l] += row[l + half];
  return row[0];
#endif
}

}  // namespace
}  // namespace nichelm
