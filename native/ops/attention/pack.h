// Packing of a block of tokens' head vectors into the panels that tile.h multiplies.
#pragma once
#include "ops/attention/tile.h"

namespace nichelm {
namespace {

// kLanes words along a row, of which the first `count` exist; the others are 0. x: the row's vector, d elements; at: first word.
NICHELM_INLINE Integers row_words(const float* x, int64_t d, int64_t at) {
  if (at + kLanes <= d) return load<Integers>(x + at);
  float words[kLanes] = {};
  for (int64_t i = at; i < d; ++i) words[i - at] = x[i];
  return load<Integers>(words);
}
NICHELM_INLINE Integers widened(const Bf16* x) { return reinterpret_cast<Integers>(widen_bits(load<HalfLanes>(x)) << 16); }
NICHELM_INLINE Integers row_words(const Bf16* x, int64_t d, int64_t at) {
  if constexpr (kPack<Bf16> == 1) {
    if (at + kLanes <= d) return widened(x + at);
    Bf16 values[kLanes] = {};
    for (int64_t i = at; i < d; ++i) values[i - at] = x[i];
    return widened(values);
  } else {
    if (2 * (at + kLanes) <= d) return load<Integers>(x + 2 * at);
    Bf16 values[2 * kLanes] = {};
    for (int64_t i = 2 * at; i < d; ++i) values[i - 2 * at] = x[i];
    return load<Integers>(values);
  }
}

// Words of kLanes columns from `at`: of a row, or of two rows in pairs. Rows that are not there (null) and columns from d on are 0.
NICHELM_INLINE Integers column_words(const float* x, const float*, int64_t d, int64_t at) { return x ? row_words(x, d, at) : Integers{}; }
NICHELM_INLINE Integers column_words(const Bf16* x, const Bf16* next, int64_t d, int64_t at) {
  if constexpr (kPack<Bf16> == 1) return x ? row_words(x, d, at) : Integers{};
  Bf16 low[kLanes] = {}, high[kLanes] = {};
  const int64_t count = d - at < kLanes ? d - at : kLanes;
  if (count == kLanes && x && next) return reinterpret_cast<Integers>(widen_bits(load<HalfLanes>(x + at))) | widened(next + at);
  for (int64_t i = 0; i < count && x; ++i) low[i] = x[at + i];
  for (int64_t i = 0; i < count && next; ++i) high[i] = next[at + i];
  return reinterpret_cast<Integers>(widen_bits(load<HalfLanes>(low))) | widened(high);
}

NICHELM_INLINE Vector floats(const float* x) { return load<Vector>(x); }
NICHELM_INLINE Vector floats(const Bf16* x) { return reinterpret_cast<Vector>(widened(x)); }

// Sums by lanes, then the lanes: one order for every d.
template <class T> NICHELM_INLINE float dot(const T* a, const T* b, int64_t d) {
  Vector lanes{};
  int64_t c = 0;
  for (; c + kLanes <= d; c += kLanes) lanes += floats(a + c) * floats(b + c);
  float sum = sum_of(lanes);
  for (; c < d; ++c) sum += widen(a[c]) * widen(b[c]);
  return sum;
}

template <int... I> NICHELM_INLINE Integers interleave_low(Integers a, Integers b, std::integer_sequence<int, I...>) {
  return NICHELM_SHUFFLE(Integers, a, b, (I % 2 ? kLanes + I / 2 : I / 2)...);
}
template <int... I> NICHELM_INLINE Integers interleave_high(Integers a, Integers b, std::integer_sequence<int, I...>) {
  constexpr int half = kLanes / 2;
  return NICHELM_SHUFFLE(Integers, a, b, (half + (I % 2 ? kLanes + I / 2 : I / 2))...);
}

// A square of words: log2(kLanes) perfect shuffles of its rows.
NICHELM_INLINE void transpose(Integers* x) {
  constexpr std::make_integer_sequence<int, kLanes> lanes;
#pragma GCC unroll 4
  for (int64_t step = 1; step < kLanes; step *= 2) {
    Integers y[kLanes];
#pragma GCC unroll 8
    for (int64_t i = 0; i < kLanes / 2; ++i) {
      y[2 * i] = interleave_low(x[i], x[i + kLanes / 2], lanes);
      y[2 * i + 1] = interleave_high(x[i], x[i + kLanes / 2], lanes);
    }
#pragma GCC unroll 16
    for (int64_t i = 0; i < kLanes; ++i) x[i] = y[i];
  }
}

// x: (rows, d), rows `stride` elements apart. out: panels (up(rows, kPanel) / kPanel, words of d, kPanel), the sum's index being d:
// as b for products with the rows as columns, as a for products with them as rows. Rows that are not there are 0.
template <class T> void pack_by_columns(const T* x, int64_t stride, int64_t rows, int64_t d, Word<T>* out) {
  const int64_t words = up(d, kPack<T>) / kPack<T>;
  for (int64_t r = 0; r < up(rows, kPanel); r += kLanes) {
    Word<T>* panel = out + r / kPanel * kPanel * words + r % kPanel;
    for (int64_t w = 0; w < words; w += kLanes) {
      Integers square[kLanes];
      for (int64_t l = 0; l < kLanes; ++l) square[l] = r + l < rows ? row_words(x + (r + l) * stride, d, w) : Integers{};
      transpose(square);
      const int64_t count = words - w < kLanes ? words - w : kLanes;
      for (int64_t l = 0; l < count; ++l) store(panel + (w + l) * kPanel, square[l]);
    }
  }
}

// x: (rows, d), rows `stride` elements apart. out: panels (up(d, kLanes) / kPanel, padded / kPack, kPanel), the sum's index being the rows.
// padded: how many rows a panel has room for, a multiple of kPanel; rows up to up(rows, kPanel) and columns that are not there are 0, and so are the rows before `first`.
template <class T> void pack_by_rows(const T* x, int64_t stride, int64_t rows, int64_t d, int64_t padded, Word<T>* out, int64_t first = 0) {
  const auto row = [&](int64_t r) { return r >= first && r < rows ? x + r * stride : nullptr; };
  for (int64_t c = 0; c < up(d, kLanes); c += kLanes) {
    Word<T>* panel = out + c / kPanel * kPanel * (padded / kPack<T>) + c % kPanel;
    for (int64_t r = 0; r < up(rows, kPanel); r += kPack<T>, panel += kPanel) store(panel, column_words(row(r), row(r + 1), d, c));
  }
}

}  // namespace
}  // namespace nichelm
