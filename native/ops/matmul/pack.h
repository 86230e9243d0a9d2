// Packing: a strip of an operand, whichever way it lies in memory, as the panel of words that the micro-kernel walks through.
#pragma once
#include "ops/matmul/micro_kernel.h"
#include "runtime/transpose.h"

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
NICHELM_INLINE Words halves(const Bf16* x) {
  HalfLanes h;
  std::memcpy(&h, x, sizeof h);
  return widen_bits(h);
}
NICHELM_INLINE Words words(SingleF32, const Bf16* x) { return halves(x) << 16; }

// The first words of a register alone. Through memory the copy would wait for all stores before it.
template <int Count> NICHELM_INLINE void store_first(uint32_t* to, Words x) {
  if constexpr (Count == kLanes || Count == 0) return store(to, x);
#if defined(NICHELM_ISA_avx512) || defined(NICHELM_ISA_avx512bf16)
  _mm512_mask_storeu_epi32(to, (1 << Count) - 1, reinterpret_cast<__m512i>(x));
#elif defined(NICHELM_ISA_avx2)
  const __m256i all = reinterpret_cast<__m256i>(x);
  static_assert(Count == 6 || Count == kLanes || Count == 0, "four words, then two");
  _mm_storeu_si128(reinterpret_cast<__m128i*>(to), _mm256_castsi256_si128(all));
  _mm_storel_epi64(reinterpret_cast<__m128i*>(to + 4), _mm256_extracti128_si256(all, 1));
#else
  std::memcpy(to, &x, Count * 4);
#endif
}

// Words of kLanes neighbours along i at one step: row is the first value of k, next the second.
NICHELM_INLINE Words across(SingleF32, const float* row, const float*) { return load_words(row); }
NICHELM_INLINE Words across(SingleF32, const Bf16* row, const Bf16*) { return halves(row) << 16; }

#ifdef NICHELM_ISA_avx512bf16
NICHELM_INLINE uint32_t word(PairBf16, const Bf16* x, int64_t left) { return x[0].bits | (left > 1 ? uint32_t{x[1].bits} << 16 : 0); }
NICHELM_INLINE Words words(PairBf16, const Bf16* x) { return load_words(x); }
NICHELM_INLINE Words across(PairBf16, const Bf16* row, const Bf16* next) { return halves(row) | halves(next) << 16; }
#endif

// The same of N registers.
template <class Kind, class T, int N> NICHELM_INLINE void across(Kind, const T* row, const T* next, Words (&out)[N]) {
#pragma GCC unroll 4
  for (int v = 0; v < N; ++v) out[v] = across(Kind{}, row + v * kLanes, next + v * kLanes);
}
#ifdef NICHELM_ISA_avx512bf16
typedef uint16_t TwoHalves __attribute__((vector_size(4 * kLanes)));
template <int... I> NICHELM_INLINE void zip_halves(const Bf16* row, const Bf16* next, Words (&out)[2], std::integer_sequence<int, I...>) {
  TwoHalves x, y;
  std::memcpy(&x, row, sizeof x);
  std::memcpy(&y, next, sizeof y);
  out[0] = reinterpret_cast<Words>(NICHELM_SHUFFLE(TwoHalves, x, y, (I / 2 + I % 2 * 2 * kLanes)...));
  out[1] = reinterpret_cast<Words>(NICHELM_SHUFFLE(TwoHalves, x, y, (kLanes + I / 2 + I % 2 * 2 * kLanes)...));
}
NICHELM_INLINE void across(PairBf16, const Bf16* row, const Bf16* next, Words (&out)[2]) { zip_halves(row, next, out, std::make_integer_sequence<int, 2 * kLanes>{}); }
#endif

// k lies in rows of memory: blocks of kLanes x kLanes words are transposed in registers. What a store writes past its step, the next one overwrites; but the
// last of a block keeps to its own, since another thread's panel may follow.
template <class Kind, int Width, int Stride, class T> void pack_along_k(const Operand<T>& x, int64_t first, int64_t count, int64_t k_first, int64_t k_last, uint32_t* out) {
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
      for (int i = 0; i + 1 < kLanes; ++i) store(out + (p + i) * Stride + group, block[i]);
      store_first<Width < kLanes ? Width : kLanes>(out + (p + kLanes - 1) * Stride + group, block[kLanes - 1]);
    }
  for (; p < steps; ++p)
    for (int i = 0; i < Width; ++i)
      out[p * Stride + i] = i < count ? word(Kind{}, origin + i * x.stride + p * Kind::values, k_last - k_first - p * Kind::values) : 0;
}

// k lies across rows of memory: a step is copied from one row, or zipped from two. Behind `count`, whatever follows in the operand is copied too
// (no one reads what comes of it), but for its last rows, which nothing follows. Whole registers are stored, as in pack_along_k.
// Rows that are packed after this are asked for: no prefetcher of the hardware sees that short pieces of far rows come next.
constexpr int64_t kAcrossSteps = 8;  // that a caller packs of one panel before it goes to the next
template <class Kind, int Width, class T> NICHELM_INLINE void pack_step(const T* row, const T* next, uint32_t* out, bool last) {
  constexpr int kRegisters = (Width + kLanes - 1) / kLanes, kRest = Width % kLanes;
  Words step[kRegisters];
  across(Kind{}, row, next, step);
#pragma GCC unroll 4
  for (int i = 0; i < kRegisters; ++i)
    if (kRest && last && i + 1 == kRegisters) store_first<kRest>(out + i * kLanes, step[i]);
    else store(out + i * kLanes, step[i]);
}
template <class Kind, int Width, int Stride, class T> void pack_across_k(const Operand<T>& x, int64_t first, int64_t count, int64_t k_first, int64_t k_last, uint32_t* out) {
  constexpr int kRead = (Width + kLanes - 1) / kLanes * kLanes;
  const int64_t stride = x.stride, ahead = kAcrossSteps * Kind::values * stride;
  int64_t k = k_first;
  const T* row = x.data + k * stride + first;
  for (; k + Kind::values <= k_last && (k + Kind::values - 1) * stride + first + kRead <= x.size; k += Kind::values, row += Kind::values * stride, out += Stride) {
    __builtin_prefetch(row + ahead);
    if (Kind::values == 2) __builtin_prefetch(row + ahead + stride);
    pack_step<Kind, Width>(row, row + (Kind::values - 1) * stride, out, k + Kind::values == k_last);
  }
  for (; k < k_last; k += Kind::values, row += Kind::values * stride, out += Stride) {
    T here[kRead] = {}, next[kRead] = {};
    std::memcpy(here, row, static_cast<size_t>(count) * sizeof(T));
    if (Kind::values == 2 && k + 1 < k_last) std::memcpy(next, row + stride, static_cast<size_t>(count) * sizeof(T));
    pack_step<Kind, Width>(here, next, out, k + Kind::values >= k_last);
  }
}

// kAcrossSteps steps of a panel, all of whose reads are inside the operand: without bounds, for there are very many of these short pieces.
template <class Kind, int Width, int Stride, class T> NICHELM_INLINE void pack_across_steps(const T* row, int64_t stride, uint32_t* out) {
  const int64_t ahead = kAcrossSteps * Kind::values * stride;
#pragma GCC unroll 8
  for (int p = 0; p < kAcrossSteps; ++p, row += Kind::values * stride) {
    __builtin_prefetch(row + ahead);
    if (Width * sizeof(T) > 64) __builtin_prefetch(row + ahead + 64 / sizeof(T));
    if (Kind::values == 2) __builtin_prefetch(row + ahead + stride);
    pack_step<Kind, Width>(row, row + (Kind::values - 1) * stride, out + p * Stride, p + 1 == kAcrossSteps);
  }
}

// The panel of elements (first .. first + count, k_first .. k_last): [steps][Width] words, Stride words from step to step; those behind count mean nothing.
template <class Kind, int Width, int Stride = Width, class T> void pack(const Operand<T>& x, int64_t first, int64_t count, int64_t k_first, int64_t k_last, uint32_t* out) {
  x.k_contiguous ? pack_along_k<Kind, Width, Stride>(x, first, count, k_first, k_last, out) : pack_across_k<Kind, Width, Stride>(x, first, count, k_first, k_last, out);
}

}  // namespace
}  // namespace nichelm
