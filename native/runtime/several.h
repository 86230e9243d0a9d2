// N registers as one value, for long chains of arithmetic: a step is done for all of them before the next, so that one's latency hides in the others'.
// Everything here is local to the file that includes it: kernel files are compiled for several instruction sets.
#pragma once
#include <type_traits>

#include "runtime/lanes.h"
#include "runtime/math.h"

namespace nichelm {
namespace {

template <int N> struct Several {
  Lanes part[N];
};

#define NICHELM_EACH _Pragma("GCC unroll 8") for (int i = 0; i < N; ++i)
#define NICHELM_SEVERAL(op)                                                                                                                                                      \
  template <int N> NICHELM_INLINE Several<N> operator op(const Several<N>& a, const Several<N>& b) { Several<N> c; NICHELM_EACH c.part[i] = a.part[i] op b.part[i]; return c; } \
  template <int N> NICHELM_INLINE Several<N> operator op(float a, const Several<N>& b) { Several<N> c; NICHELM_EACH c.part[i] = a op b.part[i]; return c; }                     \
  template <int N> NICHELM_INLINE Several<N> operator op(const Several<N>& a, float b) { Several<N> c; NICHELM_EACH c.part[i] = a.part[i] op b; return c; }
NICHELM_SEVERAL(+)
NICHELM_SEVERAL(-)
NICHELM_SEVERAL(*)
NICHELM_SEVERAL(/)
#undef NICHELM_SEVERAL
template <int N> NICHELM_INLINE Several<N> operator-(const Several<N>& a) { Several<N> c; NICHELM_EACH c.part[i] = -a.part[i]; return c; }

// What math.h has for one f32.
template <int N> NICHELM_INLINE Several<N> at_most(const Several<N>& x, float bound) {
  Several<N> y;
  NICHELM_EACH y.part[i] = at_most(x.part[i], bound);
  return y;
}
template <int N> NICHELM_INLINE Several<N> at_least(const Several<N>& x, float bound) {
  Several<N> y;
  NICHELM_EACH y.part[i] = at_least(x.part[i], bound);
  return y;
}
template <int N> NICHELM_INLINE Several<N> magnitude(const Several<N>& x) {
  Several<N> y;
  NICHELM_EACH y.part[i] = magnitude(x.part[i]);
  return y;
}
template <int N> NICHELM_INLINE Several<N> magnitude_at_most(const Several<N>& x, float bound) {
  Several<N> y;
  NICHELM_EACH y.part[i] = magnitude_at_most(x.part[i], bound);
  return y;
}
template <int N> NICHELM_INLINE Several<N> entry(const float (&table)[16], const Several<N>& place) {
  Several<N> y;
  NICHELM_EACH y.part[i] = entry(table, place.part[i]);
  return y;
}
template <int N> NICHELM_INLINE Several<N> zero_below(const Several<N>& x, const Several<N>& of, float bound) {
  Several<N> y;
  NICHELM_EACH y.part[i] = of.part[i] < bound ? Lanes{} : x.part[i];
  return y;
}
template <int N> NICHELM_INLINE Several<N> add_exponent(const Several<N>& p, const Several<N>& shifted) {
  Several<N> y;
  NICHELM_EACH y.part[i] = reinterpret_cast<Lanes>(reinterpret_cast<LaneBits>(p.part[i]) + (reinterpret_cast<LaneBits>(shifted.part[i]) << 23));
  return y;
}
template <int N> NICHELM_INLINE Several<N> power_of_two(const Several<N>& shifted) {
  Several<N> y;
  NICHELM_EACH y.part[i] = reinterpret_cast<Lanes>(reinterpret_cast<LaneBits>(shifted.part[i]) << 23);
  return y;
}

template <int N, class T, class Which> NICHELM_INLINE Several<N> load_several(const T* x, Which lanes) {
  Several<N> y;
  NICHELM_EACH y.part[i] = load(x + i * kLanes, lanes);
  return y;
}
template <Store kStore = Store::cached, int N, class T, class Which> NICHELM_INLINE void store_several(const Several<N>& x, T* y, Which lanes) {
  constexpr bool kStreaming = kStore == Store::streaming && std::is_same_v<Which, AllLanes>;
#ifdef NICHELM_ISA_avx512bf16
  if constexpr (sizeof(T) == 2 && N % 2 == 0 && std::is_same_v<Which, AllLanes>) {  // two registers are rounded in the time of one; the same bits
#pragma GCC unroll 8
    for (int i = 0; i < N; i += 2) {
      const __m512bh halves = _mm512_cvtne2ps_pbh(reinterpret_cast<__m512>(x.part[i + 1]), reinterpret_cast<__m512>(x.part[i]));
      if constexpr (kStreaming) _mm512_stream_si512(reinterpret_cast<__m512i*>(y + i * kLanes), reinterpret_cast<__m512i>(halves));
      else std::memcpy(y + i * kLanes, &halves, sizeof halves);
    }
    return;
  }
#endif
  NICHELM_EACH {
    if constexpr (kStreaming) stream(x.part[i], y + i * kLanes);
    else store(x.part[i], y + i * kLanes, lanes);
  }
}

// Asks for what N registers will be loaded from; Locality 2: no nearer than the second cache.
template <int N, int Locality = 3, class T> NICHELM_INLINE void fetch_several(const T* x) {
  constexpr int kLine = 64 / sizeof(T);
#pragma GCC unroll 8
  for (int i = 0; i < N * kLanes; i += kLine) __builtin_prefetch(x + i, 0, Locality);
}

template <int N, class Which> NICHELM_INLINE Several<N> inside(const Several<N>& x, Which lanes) {
  Several<N> y;
  NICHELM_EACH y.part[i] = inside(x.part[i], lanes);
  return y;
}

// The first N of `into` get what x's have added.
template <int N, int M> NICHELM_INLINE void add_to(Several<M>& into, const Several<N>& x) { NICHELM_EACH into.part[i] += x.part[i]; }

#undef NICHELM_EACH

// Registers that a row is walked through by at a time: four where the arithmetic is long, a line of memory where it is not.
constexpr int kSeveral = 4;
template <class T> constexpr int kOfLine = 64 / sizeof(T) / kLanes < kSeveral ? 64 / sizeof(T) / kLanes : kSeveral;

// Calls body(i, lanes, n) for n registers of a row from element i on: N whole ones while there are so many, then one at a time, the last in part.
// body must be NICHELM_INLINE_LAMBDA.
template <int N = kSeveral, class Body> NICHELM_INLINE void over_several(int64_t first, int64_t last, const Body& body) {
  int64_t i = first;
  for (; i + N * kLanes <= last; i += N * kLanes) body(i, AllLanes{}, std::integral_constant<int, N>{});
  if constexpr (N > 1)
    for (; i + kLanes <= last; i += kLanes) body(i, AllLanes{}, std::integral_constant<int, 1>{});
  if (i < last) body(i, SomeLanes{last - i}, std::integral_constant<int, 1>{});
}

NICHELM_INLINE float sum_of(const Several<1>& x) { return sum_of(x.part[0]); }
NICHELM_INLINE float sum_of(const Several<2>& x) { return sum_of(x.part[0] + x.part[1]); }
NICHELM_INLINE float sum_of(const Several<4>& x) { return sum_of((x.part[0] + x.part[1]) + (x.part[2] + x.part[3])); }

}  // namespace
}  // namespace nichelm
