// What follows the sums, tile by tile while they are in the nearest cache.
#pragma once
#include "ops/matmul/micro_kernel.h"
#include "runtime/several.h"

namespace nichelm {
namespace {

// c = activation(sum + bias) · gelu'(gelu_of) + residual, or c += sum. Null: no such term. gelu_of, residual, pre and c are (m, n) of one type.
template <class C> struct Epilogue {
  C* c;
  int64_t n;
  const float* bias = nullptr;
  const C* gelu_of = nullptr;
  const C* residual = nullptr;
  C* pre = nullptr;
  bool gelu = false;
  bool accumulate = false;
};

// A row of a tile, of which `columns` exist; the others are 0.
template <class C> NICHELM_INLINE void load_row(const C* from, int64_t columns, Lanes* x) {
#pragma GCC unroll 4
  for (int v = 0; v < kVectors; ++v) {
    const int64_t left = columns - v * kLanes;
    x[v] = left >= kLanes ? load(from + v * kLanes, AllLanes{}) : load(from + v * kLanes, SomeLanes{left});
  }
}
template <class C> NICHELM_INLINE void store_row(const Lanes* x, int64_t columns, C* to) {
#ifdef NICHELM_ISA_avx512bf16
  if constexpr (sizeof(C) == 2)
    if (columns == kColumns) {
      const __m512bh halves = _mm512_cvtne2ps_pbh(reinterpret_cast<__m512>(x[1]), reinterpret_cast<__m512>(x[0]));  // as narrow, but that subnormals become 0
      std::memcpy(to, &halves, sizeof halves);
      return;
    }
#endif
#pragma GCC unroll 4
  for (int v = 0; v < kVectors; ++v) {
    const int64_t left = columns - v * kLanes;
    left >= kLanes ? store(x[v], to + v * kLanes, AllLanes{}) : store(x[v], to + v * kLanes, SomeLanes{left});
  }
}

// kPair rows of a tile, as `here` of them exist; the others repeat the last.
constexpr int kPair = 2;
typedef Several<kPair * kVectors> Pair;
template <class C> NICHELM_INLINE Pair load_pair(const C* from, int64_t stride, int64_t here, int64_t columns) {
  Pair x;
#pragma GCC unroll 4
  for (int q = 0; q < kPair; ++q) load_row(from + (q < here ? q : here - 1) * stride, columns, x.part + q * kVectors);
  return x;
}
template <class C> NICHELM_INLINE void store_pair(const Pair& x, int64_t stride, int64_t here, int64_t columns, C* to) {
#pragma GCC unroll 4
  for (int q = 0; q < kPair; ++q)
    if (q < here) store_row(x.part + q * kVectors, columns, to + q * stride);
}

// Asks for the lines of c that a tile will go to, so that they arrive while its sums are made.
template <class C> NICHELM_INLINE void prefetch(const Epilogue<C>& e, int64_t row, int64_t column, int64_t rows) {
  constexpr int64_t kLine = 64 / sizeof(C);
  for (int64_t i = 0; i < rows; ++i)
    for (int64_t j = 0; j < kColumns; j += kLine) {
      __builtin_prefetch(e.c + (row + i) * e.n + column + j, 1);
      if (e.pre) __builtin_prefetch(e.pre + (row + i) * e.n + column + j, 1);
      if (e.gelu_of) __builtin_prefetch(e.gelu_of + (row + i) * e.n + column + j);
      if (e.residual) __builtin_prefetch(e.residual + (row + i) * e.n + column + j);
    }
}

// Arithmetic is on whole pairs of rows, also where only some columns or one row exist: the same code, so the same bits, wherever a tile falls.
template <class C> void finish(const Epilogue<C>& epilogue, const float* tile, int64_t row, int64_t column, int64_t rows, int64_t columns) {
  const Epilogue<C> e = epilogue;  // a copy, which the stores below cannot change
  Pair bias{};
  if (e.bias) bias = load_pair(e.bias + column, 0, kPair, columns);
  for (int64_t i = 0; i < rows; i += kPair) {
    const int64_t at = (row + i) * e.n + column, here = rows - i < kPair ? rows - i : kPair;
    const auto operand = [&](const auto* x) NICHELM_INLINE_LAMBDA { return load_pair(x + at, e.n, here, columns); };
    Pair x = load_pair(tile + i * kColumns, kColumns, here, kColumns);
    if (e.accumulate) x = operand(e.c) + x;
    if (e.bias) x = x + bias;
    if (e.pre) store_pair(x, e.n, here, columns, e.pre + at);
    if (e.gelu) x = gelu(x);
    if (e.gelu_of) x = x * gelu_derivative(operand(e.gelu_of));
    if (e.residual) x = x + operand(e.residual);
    store_pair(x, e.n, here, columns, e.c + at);
  }
}

}  // namespace
}  // namespace nichelm
