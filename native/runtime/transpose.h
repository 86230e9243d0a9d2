// Words across registers, for kernels that pack or turn tiles.
// Everything here is local to the file that includes it: kernel files are compiled for several instruction sets.
#pragma once
#include <utility>

#include "runtime/lanes.h"

namespace nichelm {
namespace {

// Lanes of x and y by constant places; Mask is an integer vector of their shape.
#ifdef __clang__
#define NICHELM_SHUFFLE(Mask, x, y, ...) __builtin_shufflevector(x, y, __VA_ARGS__)
#else
#define NICHELM_SHUFFLE(Mask, x, y, ...) __builtin_shuffle(x, y, Mask{__VA_ARGS__})
#endif

// Neighbours taken from x and y in turn, one word or two at a time, within every part of four words; and the even or odd parts of x, then those of y.
template <int Size, bool High, int... I> NICHELM_INLINE LaneBits zip(LaneBits x, LaneBits y, std::integer_sequence<int, I...>) {
  return NICHELM_SHUFFLE(LaneBits, x, y, (I / 4 * 4 + (Size == 1 ? I % 4 / 2 : I % 2) + 2 * High + (Size == 1 ? I % 2 : I % 4 / 2) * kLanes)...);
}
template <bool Odd, int... I> NICHELM_INLINE LaneBits parts(LaneBits x, LaneBits y, std::integer_sequence<int, I...>) {
  return NICHELM_SHUFFLE(LaneBits, x, y, (2 * I < kLanes ? I / 4 * 8 + 4 * Odd + I % 4 : kLanes + (I - kLanes / 2) / 4 * 8 + 4 * Odd + I % 4)...);
}

// First every four rows, part by part of four columns; then the parts, whose number's bits go from the column to the row one a round.
NICHELM_INLINE void transpose(LaneBits (&x)[kLanes]) {
  constexpr auto lanes = std::make_integer_sequence<int, kLanes>{};
  constexpr int kParts = kLanes / 4;
  LaneBits y[kLanes];  // [column of a part][four rows], by and by the second is the part
#pragma GCC unroll 4
  for (int g = 0; g < kParts; ++g) {
    const LaneBits a = zip<1, false>(x[4 * g], x[4 * g + 1], lanes), b = zip<1, true>(x[4 * g], x[4 * g + 1], lanes);
    const LaneBits c = zip<1, false>(x[4 * g + 2], x[4 * g + 3], lanes), d = zip<1, true>(x[4 * g + 2], x[4 * g + 3], lanes);
    y[g] = zip<2, false>(a, c, lanes), y[kParts + g] = zip<2, true>(a, c, lanes);
    y[2 * kParts + g] = zip<2, false>(b, d, lanes), y[3 * kParts + g] = zip<2, true>(b, d, lanes);
  }
#pragma GCC unroll 4
  for (int c = 0; c < 4; ++c) {
    LaneBits* part = y + c * kParts;
    if constexpr (kParts == 1) {
      x[c] = part[0];
    } else if constexpr (kParts == 2) {
      x[c] = parts<false>(part[0], part[1], lanes), x[4 + c] = parts<true>(part[0], part[1], lanes);
    } else {
      const LaneBits a = parts<false>(part[0], part[1], lanes), b = parts<true>(part[0], part[1], lanes);
      const LaneBits e = parts<false>(part[2], part[3], lanes), f = parts<true>(part[2], part[3], lanes);
      x[c] = parts<false>(a, e, lanes), x[8 + c] = parts<true>(a, e, lanes);
      x[4 + c] = parts<false>(b, f, lanes), x[12 + c] = parts<true>(b, f, lanes);
    }
  }
}

}  // namespace
}  // namespace nichelm
