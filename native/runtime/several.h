// N registers as one value, for long chains of arithmetic: a step is done for all of them before the next, so that one's latency hides in the others'.
// Everything here is local to the file that includes it: kernel files are compiled for several instruction sets.
#pragma once
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
  NICHELM_EACH y.part[i] = x.part[i] > bound ? Lanes{} + bound : x.part[i];
  return y;
}
template <int N> NICHELM_INLINE Several<N> at_least(const Several<N>& x, float bound) {
  Several<N> y;
  NICHELM_EACH y.part[i] = x.part[i] < bound ? Lanes{} + bound : x.part[i];
  return y;
}
template <int N> NICHELM_INLINE Several<N> add_exponent(const Several<N>& p, const Several<N>& shifted) {
  Several<N> y;
  NICHELM_EACH y.part[i] = reinterpret_cast<Lanes>(reinterpret_cast<LaneBits>(p.part[i]) + (reinterpret_cast<LaneBits>(shifted.part[i]) << 23));
  return y;
}
#undef NICHELM_EACH

}  // namespace
}  // namespace nichelm
