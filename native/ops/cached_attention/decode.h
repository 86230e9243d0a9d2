// One key head's attention for the few query heads that share it, straight from the cache: keys and values are read once, in order, and nothing is packed.
// Scores of kLanes keys at a time are made along the head's width; the weighted sum goes token by token. Every sum has one order.
#pragma once
#include <cmath>

#include "ops/attention/pack.h"
#include "ops/attention/softmax.h"
#include "ops/attention/tile.h"

namespace nichelm {
namespace {

// sum + a b, word by word.
NICHELM_INLINE Vector multiply_words(Vector sum, Integers a, Integers b, float) { return sum + reinterpret_cast<Vector>(a) * reinterpret_cast<Vector>(b); }
#if NICHELM_ISA_avx512bf16
NICHELM_INLINE Vector multiply_words(Vector sum, Integers a, Integers b, uint32_t) {
  return reinterpret_cast<Vector>(_mm512_dpbf16_ps(reinterpret_cast<__m512>(sum), reinterpret_cast<__m512bh>(a), reinterpret_cast<__m512bh>(b)));
}
#endif

// The sums of the lanes of each of kLanes vectors: as their transpose's sum, halving the number of vectors each time.
template <int64_t kHalf = kLanes / 2> NICHELM_INLINE Vector sums_of(Vector* x) {
  constexpr std::make_integer_sequence<int, static_cast<int>(kLanes)> lanes;
#pragma GCC unroll 8
  for (int64_t i = 0; i < kHalf; ++i) {
    const Integers a = reinterpret_cast<Integers>(x[i]), b = reinterpret_cast<Integers>(x[i + kHalf]);
    x[i] = reinterpret_cast<Vector>(interleave_low(a, b, lanes)) + reinterpret_cast<Vector>(interleave_high(a, b, lanes));
  }
  if constexpr (kHalf > 1) return sums_of<kHalf / 2>(x);
  else return x[0];
}

// Asks for what lies some way behind x, in bytes, and is read soon: sequences are too short for the hardware to guess it in time.
template <class T> NICHELM_INLINE void fetch_ahead(const T* x, int64_t width) {
  constexpr int64_t kAhead = 1024;
  for (int64_t at = 0; at < width; at += 64 / static_cast<int64_t>(sizeof(T))) __builtin_prefetch(reinterpret_cast<const char*>(x + at) + kAhead);
}

// q: the query's words, up(words, kLanes) of them. scores: room for up(visible, kLanes); those behind mean nothing.
template <class T> void score_keys(const Word<T>* q, const T* keys, int64_t d, int64_t visible, float* scores) {
  const int64_t words = up(d, kPack<T>) / kPack<T>;
  for (int64_t j = 0; j < visible; j += kLanes) {
    Vector sum[kLanes];
#pragma GCC unroll 16
    for (int64_t l = 0; l < kLanes; ++l) {
      const T* key = keys + (j + l < visible ? j + l : visible - 1) * d;
      fetch_ahead(key, d);
      Vector one{};
      for (int64_t w = 0; w < words; w += kLanes) one = multiply_words(one, load<Integers>(q + w), row_words(key, d, w), Word<T>{});
      sum[l] = one;
    }
    store(scores + j, sums_of(sum));
  }
}

// Scores to weights that sum to one. Columns behind `visible` get 0.
NICHELM_INLINE void soften(float* scores, int64_t visible, float scale) {
  const int64_t last = up(visible, kLanes);
  hide(scores, last - kLanes, last, last - kLanes, visible);
  Vector largest = load<Vector>(scores);
  for (int64_t j = kLanes; j < last; j += kLanes) {
    const Vector x = load<Vector>(scores + j);
    largest = x > largest ? x : largest;
  }
  const Vector scales = broadcast(scale), top = broadcast(largest_of(largest) * scale);
  Vector sum{};
  for (int64_t j = 0; j < last; j += kLanes) {
    const Vector p = exp_vector(load<Vector>(scores + j) * scales - top);
    sum += p;
    store(scores + j, p);
  }
  const Vector inverse = broadcast(1 / sum_of(sum));
  for (int64_t j = 0; j < last; j += kLanes) store(scores + j, load<Vector>(scores + j) * inverse);
}

// kLanes elements as floats, or those of the last few that there are.
template <class T> NICHELM_INLINE Vector some_floats(const T* x, int64_t count) {
  if (count >= kLanes) return floats(x);
  T row[kLanes] = {};
  for (int64_t i = 0; i < count; ++i) row[i] = x[i];
  return floats(row);
}

// sums[c] = sum_j weights[j] values[j, c] for V vectors of columns, of which `count` columns exist: those of even and odd tokens apart, so that one addition
// need not wait for the other, then both together.
template <int V, class T> NICHELM_INLINE void sum_columns(const float* weights, const T* values, int64_t d, int64_t visible, int64_t count, float* sums) {
  Vector even[V] = {}, odd[V] = {};
  const auto add = [&](Vector* sum, float weight, const T* value) __attribute__((always_inline)) {
#pragma GCC unroll 4
    for (int v = 0; v < V; ++v) sum[v] += broadcast(weight) * (v + 1 < V ? floats(value + v * kLanes) : some_floats(value + v * kLanes, count - v * kLanes));
  };
  int64_t j = 0;
  for (; j + 1 < visible; j += 2, values += 2 * d) {
    fetch_ahead(values, 2 * d);
    add(even, weights[j], values), add(odd, weights[j + 1], values + d);
  }
  if (j < visible) add(even, weights[j], values);
  for (int v = 0; v < V; ++v) store(sums + v * kLanes, even[v] + odd[v]);
}

// sums: room for up(d, kLanes).
template <class T> void sum_values(const float* weights, const T* values, int64_t d, int64_t visible, float* sums) {
  int64_t c = 0;
  for (; c + 4 * kLanes <= d; c += 4 * kLanes) sum_columns<4>(weights, values + c, d, visible, 4 * kLanes, sums + c);
  for (; c + 2 * kLanes <= d; c += 2 * kLanes) sum_columns<2>(weights, values + c, d, visible, 2 * kLanes, sums + c);
  for (; c < d; c += kLanes) sum_columns<1>(weights, values + c, d, visible, d - c, sums + c);
}

}  // namespace
}  // namespace nichelm
