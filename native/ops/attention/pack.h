// Packing of a block of tokens' head vectors into the panels that tile.h multiplies.
#pragma once
#include "ops/attention/tile.h"

namespace nichelm {
namespace {

NICHELM_INLINE Integers widened(const Bf16* x) { return reinterpret_cast<Integers>(widen_bits(load<HalfLanes>(x)) << 16); }
// kLanes words along a row that has them, from word `at`.
NICHELM_INLINE Integers whole_words(const float* x, int64_t at) { return load<Integers>(x + at); }
NICHELM_INLINE Integers whole_words(const Bf16* x, int64_t at) {
  if constexpr (kPack<Bf16> == 1) return widened(x + at);
  else return load<Integers>(x + 2 * at);
}
// The same of a row of d elements; what is not there is 0.
template <class T> NICHELM_INLINE Integers row_words(const T* x, int64_t d, int64_t at) {
  constexpr int64_t kCount = kLanes * kPack<T>;
  if (kPack<T> * at + kCount <= d) return whole_words(x, at);
  T some[kCount] = {};
  for (int64_t i = kPack<T> * at; i < d; ++i) some[i - kPack<T> * at] = x[i];
  return whole_words(some, 0);
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

// Asks for rows that will be read, or written: a head's lie far apart, where the CPU itself looks for none. Into the second cache: rows at such distances share
// few places of the first.
enum class Wanted { read, written };
template <Wanted kWanted = Wanted::read, class T> NICHELM_INLINE void ask_for_row(const T* row, int64_t d) {
  for (int64_t c = 0; c < d; c += 64 / static_cast<int64_t>(sizeof(T))) __builtin_prefetch(row + c, kWanted == Wanted::written, 2);
}
constexpr int64_t kAhead = 32;  // rows: what packing asks for beside each that it packs
template <class T> NICHELM_INLINE void ask_for_rows(const T* x, int64_t stride, int64_t rows, int64_t d) {
  for (int64_t r = 0; r < rows; ++r) ask_for_row(x + r * stride, d);
}

// x: (rows, d), rows `stride` elements apart. out: panels (up(rows, kPanel) / kPanel, words of d, kPanel), the sum's index being d:
// as b for products with the rows as columns, as a for products with them as rows. Rows that are not there are 0.
template <class T> void pack_by_columns(const T* x, int64_t stride, int64_t rows, int64_t d, Word<T>* out) {
  const int64_t words = up(d, kPack<T>) / kPack<T>, whole = d / kPack<T>;
  for (int64_t r = 0; r < up(rows, kPanel); r += kLanes) {
    Word<T>* panel = out + r / kPanel * kPanel * words + r % kPanel;
    const T* row = x + r * stride;
    if (r + kAhead < rows) ask_for_rows(row + kAhead * stride, stride, smaller(kLanes, rows - r - kAhead), d);
    for (int64_t w = 0; w < words; w += kLanes) {
      LaneBits square[kLanes];
      if (r + kLanes <= rows && w + kLanes <= whole) {
#pragma GCC unroll 16
        for (int l = 0; l < kLanes; ++l) square[l] = reinterpret_cast<LaneBits>(whole_words(row + l * stride, w));
      } else {
        for (int64_t l = 0; l < kLanes; ++l) square[l] = reinterpret_cast<LaneBits>(r + l < rows ? row_words(row + l * stride, d, w) : Integers{});
      }
      transpose(square);
      const int64_t count = smaller(kLanes, words - w);
#pragma GCC unroll 16
      for (int l = 0; l < kLanes; ++l)
        if (l < count) store(panel + (w + l) * kPanel, square[l]);
    }
  }
}

// x: (rows, d), rows `stride` elements apart. out: panels (up(d, kLanes) / kPanel, padded / kPack, kPanel), the sum's index being the rows.
// padded: how many rows a panel has room for, a multiple of kPanel; rows up to up(rows, kPanel) and columns that are not there are 0, and so are the rows before `first`.
template <class T> void pack_by_rows(const T* x, int64_t stride, int64_t rows, int64_t d, int64_t padded, Word<T>* out, int64_t first = 0) {
  const auto row = [&](int64_t r) { return r >= first && r < rows ? x + r * stride : nullptr; };
  for (int64_t c = 0; c < up(d, kLanes); c += kLanes) {
    Word<T>* panel = out + c / kPanel * kPanel * (padded / kPack<T>) + c % kPanel;
    for (int64_t r = 0; r < up(rows, kPanel); r += kPack<T>, panel += kPanel) {
      if (c == 0 && r + kAhead + kPack<T> <= rows) ask_for_rows(x + (r + kAhead) * stride, stride, kPack<T>, d);
      store(panel, column_words(row(r), row(r + 1), d, c));
    }
  }
}

}  // namespace
}  // namespace nichelm
