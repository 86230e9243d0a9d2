// One key head's attention for the query heads that share it, straight from the cache: keys and values are read once, in order, and nothing is packed. Scores
// of kLanes keys at a time are made along the head's width; the weighted sum goes token by token. Every sum has one order, whatever the number of queries.
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

// Scores of kLanes keys, of which `count` exist; those behind mean nothing. q: the query's words, up(words, kLanes) of them. W: vectors of words, where the
// width is a whole number of them, else 0.
template <int W, class T> NICHELM_INLINE Vector score_block(const Word<T>* q, const T* keys, int64_t d, int64_t count) {
  const int64_t words = up(d, kPack<T>) / kPack<T>;
  Integers query[W > 0 ? W : 1];
  for (int w = 0; w < W; ++w) query[w] = load<Integers>(q + w * kLanes);
  Vector sum[kLanes];
#pragma GCC unroll 16
  for (int64_t l = 0; l < kLanes; ++l) {
    const T* key = keys + (l < count ? l : count - 1) * d;
    Vector one{};
    if constexpr (W > 0) {
#pragma GCC unroll 4
      for (int w = 0; w < W; ++w) one = multiply_words(one, query[w], whole_words(key, w * kLanes), Word<T>{});
    } else {
      for (int64_t w = 0; w < words; w += kLanes) one = multiply_words(one, load<Integers>(q + w), row_words(key, d, w), Word<T>{});
    }
    sum[l] = one;
  }
  return across_lanes<kLanes>(sum, [](Vector a, Vector b) NICHELM_INLINE_LAMBDA { return a + b; });
}

// scores[h, j] for `group` queries and all keys that are visible, kLanes keys at a time. queries: (group, query_words); scores: (group, stride).
template <int W, class T> void score_keys(const Word<T>* queries, int64_t query_words, int64_t group, const T* keys, int64_t d, int64_t visible, float* scores, int64_t stride) {
  for (int64_t j = 0; j < visible; j += kLanes)
    for (int64_t h = 0; h < group; ++h) store(scores + h * stride + j, score_block<W>(queries + h * query_words, keys + j * d, d, visible - j));
}
template <class T> void score_keys(const Word<T>* queries, int64_t query_words, int64_t group, const T* keys, int64_t d, int64_t visible, float* scores, int64_t stride) {
  constexpr int64_t kVector = kLanes * kPack<T>;
  const auto body = d == kVector ? score_keys<1, T> : d == 2 * kVector ? score_keys<2, T> : d == 4 * kVector ? score_keys<4, T> : score_keys<0, T>;
  body(queries, query_words, group, keys, d, visible, scores, stride);
}

// Scores to weights that sum to one. Columns behind `visible` get 0.
NICHELM_INLINE void soften(float* scores, int64_t visible, float scale) {
  const int64_t last = up(visible, kLanes);
  hide(scores, last - kLanes, last, {last - kLanes, visible});
  Vector largest = broadcast(-INFINITY);
  for (int64_t j = 0; j < last; j += kLanes) largest = larger(load<Vector>(scores + j), largest);
  const Vector scales = broadcast(scale), top = broadcast(across_lanes<1>(&largest, [](Vector a, Vector b) NICHELM_INLINE_LAMBDA { return larger(a, b); })[0]) * scales;
  Vector sum{};
  for (int64_t j = 0; j < last; j += kLanes) {
    const Vector p = power_of<float>(load<Vector>(scores + j) * scales - top);
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

// sums[c] += sum_j weights[j] values[j, c] for V vectors of columns, of which `count` columns exist: those of even and odd j apart (sums, sums + apart), so that
// one addition need not wait for the other.
template <int V, class T> NICHELM_INLINE void sum_columns(const float* weights, const T* values, int64_t d, int64_t tokens, int64_t count, float* sums, int64_t apart) {
  Vector even[V], odd[V];
  for (int v = 0; v < V; ++v) even[v] = load<Vector>(sums + v * kLanes), odd[v] = load<Vector>(sums + apart + v * kLanes);
  const auto add = [&](Vector* sum, float weight, const T* value) __attribute__((always_inline)) {
#pragma GCC unroll 4
    for (int v = 0; v < V; ++v) sum[v] += broadcast(weight) * (v + 1 < V ? floats(value + v * kLanes) : some_floats(value + v * kLanes, count - v * kLanes));
  };
  int64_t j = 0;
  for (; j + 1 < tokens; j += 2, values += 2 * d) add(even, weights[j], values), add(odd, weights[j + 1], values + d);
  if (j < tokens) add(even, weights[j], values);
  for (int v = 0; v < V; ++v) store(sums + v * kLanes, even[v]), store(sums + apart + v * kLanes, odd[v]);
}

// The same of bf16 values for V vectors of columns, all of which exist: a vector of memory holds two of columns, those of even and of odd columns in the halves of
// its words, and so do the sums until `in_order`.
template <int V> NICHELM_INLINE void sum_columns(const float* weights, const Bf16* values, int64_t d, int64_t tokens, float* sums, int64_t apart) {
  static_assert(V % 2 == 0);
  Vector even[V], odd[V];  // tokens
  for (int v = 0; v < V; ++v) even[v] = load<Vector>(sums + v * kLanes), odd[v] = load<Vector>(sums + apart + v * kLanes);
  const auto add = [&](Vector* sum, float weight, const Bf16* value) __attribute__((always_inline)) {
#pragma GCC unroll 4
    for (int v = 0; v < V; v += 2) {
      const Integers both = load<Integers>(value + v * kLanes);
      sum[v] += broadcast(weight) * reinterpret_cast<Vector>(both << 16);
      sum[v + 1] += broadcast(weight) * reinterpret_cast<Vector>(both & static_cast<int32_t>(0xffff0000));
    }
  };
  int64_t j = 0;
  for (; j + 1 < tokens; j += 2, values += 2 * d) add(even, weights[j], values), add(odd, weights[j + 1], values + d);
  if (j < tokens) add(even, weights[j], values);
  for (int v = 0; v < V; ++v) store(sums + v * kLanes, even[v]), store(sums + apart + v * kLanes, odd[v]);
}
template <int... I> NICHELM_INLINE void in_order(float* sums, std::integer_sequence<int, I...>) {
  const Integers even = load<Integers>(sums), odd = load<Integers>(sums + kLanes);
  store(sums, NICHELM_SHUFFLE(Integers, even, odd, (I / 2 + I % 2 * kLanes)...));
  store(sums + kLanes, NICHELM_SHUFFLE(Integers, even, odd, ((I + kLanes) / 2 + I % 2 * kLanes)...));
}

// sums[h, 0..d) = sum_j weights[h, j] values[j], block by block of tokens for all of the group. weights: (group, stride); sums: (group, 2, padded), padded the
// width rounded up to vectors; the result is the first of the two.
template <class T> void sum_values(const float* weights, int64_t stride, int64_t group, const T* values, int64_t d, int64_t visible, float* sums, int64_t padded) {
  constexpr int64_t kBlock = 32;  // even
  for (int64_t i = 0; i < 2 * group * padded; i += kLanes) store(sums + i, Vector{});
  for (int64_t j = 0; j < visible; j += kBlock) {
    const int64_t tokens = visible - j < kBlock ? visible - j : kBlock;
    for (int64_t h = 0; h < group; ++h) {
      const float* weight = weights + h * stride + j;
      float* sum = sums + 2 * h * padded;
      const T* value = values + j * d;
      int64_t c = 0;
      if constexpr (std::is_same_v<T, Bf16>) {
        for (; c + 4 * kLanes <= d; c += 4 * kLanes) sum_columns<4>(weight, value + c, d, tokens, sum + c, padded);
        for (; c + 2 * kLanes <= d; c += 2 * kLanes) sum_columns<2>(weight, value + c, d, tokens, sum + c, padded);
      }
      for (; c + 4 * kLanes <= d; c += 4 * kLanes) sum_columns<4>(weight, value + c, d, tokens, 4 * kLanes, sum + c, padded);
      for (; c + 2 * kLanes <= d; c += 2 * kLanes) sum_columns<2>(weight, value + c, d, tokens, 2 * kLanes, sum + c, padded);
      for (; c < d; c += kLanes) sum_columns<1>(weight, value + c, d, tokens, d - c, sum + c, padded);
    }
  }
  for (int64_t h = 0; h < group; ++h) {
    float* sum = sums + 2 * h * padded;
    for (int64_t c = 0; c < padded; c += kLanes) store(sum + c, load<Vector>(sum + c) + load<Vector>(sum + padded + c));
    if constexpr (std::is_same_v<T, Bf16>)
      for (int64_t c = 0; c + 2 * kLanes <= d; c += 2 * kLanes) in_order(sum + c, std::make_integer_sequence<int, kLanes>{});
  }
}

}  // namespace
}  // namespace nichelm
