// Packing: a strip of an operand, whichever way it lies in memory, as the panel of words that the micro-kernel walks through.
#pragma once
#include "ops/matmul/micro_kernel.h"

namespace nichelm {
namespace {

// Element (i, p), i along the rows of a or the columns of b, p along k.
template <class T> struct Operand {
  const T* data;
  int64_t stride;
  bool k_contiguous;  // (i, p) at i * stride + p, else at p * stride + i
  int64_t size;       // elements in all; the next group's follow
};

// A word made of the value(s) of k that begin at x; the odd last one of a pair is followed by 0.
NICHELM_INLINE uint32_t word(SingleF32, const float* x, int64_t) { uint32_t w; std::memcpy(&w, x, 4); return w; }
NICHELM_INLINE uint32_t word(SingleF32, const Bf16* x, int64_t) { return uint32_t{x->bits} << 16; }

// kLanes words that lie one after the other along k.
NICHELM_INLINE Words words(SingleF32, const float* x) { return load_words(x); }
NICHELM_INLINE Words words(SingleF32, const Bf16* x) {
  typedef uint16_t Halves __attribute__((vector_size(kLanes * 2)));
  Halves halves;
  std::memcpy(&halves, x, sizeof halves);
  return __builtin_convertvector(halves, Words) << 16;
}

// Words of N neighbours along i at one step: row is the first value of k, next the second.
template <int N> NICHELM_INLINE void across(SingleF32, const float* row, const float*, uint32_t* out) { std::memcpy(out, row, N * 4); }
template <int N> NICHELM_INLINE void across(SingleF32, const Bf16* row, const Bf16*, uint32_t* out) {
  for (int i = 0; i < N; ++i) out[i] = uint32_t{row[i].bits} << 16;
}

#ifdef NICHELM_ISA_avx512bf16
NICHELM_INLINE uint32_t word(PairBf16, const Bf16* x, int64_t left) { return x[0].bits | (left > 1 ? uint32_t{x[1].bits} << 16 : 0); }
NICHELM_INLINE Words words(PairBf16, const Bf16* x) { return load_words(x); }
template <int N> NICHELM_INLINE void across(PairBf16, const Bf16* row, const Bf16* next, uint32_t* out) {
  for (int i = 0; i < N; ++i) out[i] = row[i].bits | uint32_t{next[i].bits} << 16;
}
#endif

#ifdef __clang__
#define NICHELM_MATMUL_SHUFFLE(x, y, ...) __builtin_shufflevector(x, y, __VA_ARGS__)
#else
#define NICHELM_MATMUL_SHUFFLE(x, y, ...) __builtin_shuffle(x, y, Words{__VA_ARGS__})
#endif
template <int... I> NICHELM_INLINE Words zip_low(Words x, Words y, std::integer_sequence<int, I...>) { return NICHELM_MATMUL_SHUFFLE(x, y, (I / 2 + I % 2 * kLanes)...); }
template <int... I> NICHELM_INLINE Words zip_high(Words x, Words y, std::integer_sequence<int, I...>) {
  return NICHELM_MATMUL_SHUFFLE(x, y, (kLanes / 2 + I / 2 + I % 2 * kLanes)...);
}

// Each round moves the top bit of the row number to the bottom of the column number, and the other way round.
NICHELM_INLINE void transpose(Words (&x)[kLanes]) {
  constexpr auto lanes = std::make_integer_sequence<int, kLanes>{};
#pragma GCC unroll 4
  for (int round = 1; round < kLanes; round *= 2) {
    Words y[kLanes];
#pragma GCC unroll 16
    for (int i = 0; i < kLanes / 2; ++i) {
      y[2 * i] = zip_low(x[i], x[i + kLanes / 2], lanes);
      y[2 * i + 1] = zip_high(x[i], x[i + kLanes / 2], lanes);
    }
#pragma GCC unroll 16
    for (int i = 0; i < kLanes; ++i) x[i] = y[i];
  }
}

// k lies in rows of memory: blocks of kLanes x kLanes words are transposed in registers. What a store writes past its step, the next one overwrites; but the
// last of a block keeps to its own, since another thread's panel may follow.
template <class Kind, int Width, class T> void pack_along_k(const Operand<T>& x, int64_t first, int64_t count, int64_t k_first, int64_t k_last, uint32_t* out) {
  static_assert(Width <= kLanes || Width % kLanes == 0);
  const int64_t steps = (k_last - k_first + Kind::values - 1) / Kind::values;
  const T* origin = x.data + first * x.stride + k_first;
  int64_t p = 0;
  for (; p + kLanes <= (k_last - k_first) / Kind::values; p += kLanes)
    for (int group = 0; group < Width; group += kLanes) {
      Words block[kLanes];
#pragma GCC unroll 16
      for (int i = 0; i < kLanes; ++i)
        block[i] = i < Width && group + i < count ? words(Kind{}, origin + (group + i) * x.stride + p * Kind::values) : Words{};
      transpose(block);
#pragma GCC unroll 16
      for (int i = 0; i + 1 < kLanes; ++i) store(out + (p + i) * Width + group, block[i]);
      std::memcpy(out + (p + kLanes - 1) * Width + group, &block[kLanes - 1], (Width < kLanes ? Width : kLanes) * 4);
    }
  for (; p < steps; ++p)
    for (int i = 0; i < Width; ++i)
      out[p * Width + i] = i < count ? word(Kind{}, origin + i * x.stride + p * Kind::values, k_last - k_first - p * Kind::values) : 0;
}

// k lies across rows of memory: a step is copied from one row, or zipped from two. Behind `count`, whatever follows in the operand is copied too
// (no one reads what comes of it), but for its last rows, which nothing follows.
template <class Kind, int Width, class T> void pack_across_k(const Operand<T>& x, int64_t first, int64_t count, int64_t k_first, int64_t k_last, uint32_t* out) {
  static constexpr T zeros[Width] = {};
  for (int64_t k = k_first; k < k_last; k += Kind::values, out += Width) {
    const bool pair = Kind::values == 2 && k + 1 < k_last;
    const T* row = x.data + k * x.stride + first;
    const T* next = pair ? row + x.stride : zeros;
    if ((k + pair) * x.stride + first + Width <= x.size) {
      across<Width>(Kind{}, row, next, out);
    } else {
      T short_row[Width] = {}, short_next[Width] = {};
      std::memcpy(short_row, row, static_cast<size_t>(count) * sizeof(T));
      std::memcpy(short_next, next, static_cast<size_t>(count) * sizeof(T));
      across<Width>(Kind{}, short_row, short_next, out);
    }
  }
}

// The panel of elements (first .. first + count, k_first .. k_last): [steps][Width] words; those behind count mean nothing.
template <class Kind, int Width, class T> void pack(const Operand<T>& x, int64_t first, int64_t count, int64_t k_first, int64_t k_last, uint32_t* out) {
  x.k_contiguous ? pack_along_k<Kind, Width>(x, first, count, k_first, k_last, out) : pack_across_k<Kind, Width>(x, first, count, k_first, k_last, out);
}

}  // namespace
}  // namespace nichelm
