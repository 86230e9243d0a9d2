// What follows the sums, tile by tile while they are in the nearest cache.
#pragma once
#include "ops/matmul/micro_kernel.h"
#include "runtime/math.h"

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

template <class C> NICHELM_INLINE void load_row(const C* from, int64_t columns, float (&x)[kColumns]) {
  if (columns == kColumns) {
    for (int j = 0; j < kColumns; ++j) x[j] = widen(from[j]);
  } else {
    for (int j = 0; j < kColumns; ++j) x[j] = j < columns ? widen(from[j]) : 0;
  }
}
NICHELM_INLINE void store_whole_row(const float (&x)[kColumns], float* to) { std::memcpy(to, x, sizeof x); }
NICHELM_INLINE void store_whole_row(const float (&x)[kColumns], Bf16* to) {
#ifdef NICHELM_ISA_avx512bf16
  const __m512bh halves = _mm512_cvtne2ps_pbh(_mm512_loadu_ps(x + kLanes), _mm512_loadu_ps(x));  // as narrow, but that subnormals become 0
  std::memcpy(to, &halves, sizeof halves);
#else
  for (int j = 0; j < kColumns; ++j) narrow(x[j], to[j]);
#endif
}
template <class C> NICHELM_INLINE void store_row(const float (&x)[kColumns], int64_t columns, C* to) {
  if (columns == kColumns) {
    store_whole_row(x, to);
  } else {
    for (int j = 0; j < columns; ++j) narrow(x[j], to[j]);
  }
}

// Asks for the lines of c that a tile will go to, so that they arrive while its sums are made.
template <class C> NICHELM_INLINE void prefetch(const Epilogue<C>& e, int64_t row, int64_t column, int64_t rows) {
  constexpr int64_t kLine = 64 / sizeof(C);
  for (int64_t i = 0; i < rows; ++i)
    for (int64_t j = 0; j < kColumns; j += kLine) {
      __builtin_prefetch(e.c + (row + i) * e.n + column + j, 1);
      if (e.gelu_of) __builtin_prefetch(e.gelu_of + (row + i) * e.n + column + j);
      if (e.residual) __builtin_prefetch(e.residual + (row + i) * e.n + column + j);
    }
}

// Arithmetic is on whole rows of the tile, also where only some columns exist: the same code, so the same bits, wherever a tile falls.
template <class C> void finish(const Epilogue<C>& e, const float* tile, int64_t row, int64_t column, int64_t rows, int64_t columns) {
  float bias[kColumns] = {};
  if (e.bias) load_row(e.bias + column, columns, bias);
  for (int64_t i = 0; i < rows; ++i) {
    const int64_t at = (row + i) * e.n + column;
    float x[kColumns], term[kColumns];
    std::memcpy(x, tile + i * kColumns, sizeof x);
    if (e.accumulate) {
      load_row(e.c + at, columns, term);
      for (int j = 0; j < kColumns; ++j) x[j] = term[j] + x[j];
    }
    if (e.bias)
      for (int j = 0; j < kColumns; ++j) x[j] += bias[j];
    if (e.pre) store_row(x, columns, e.pre + at);
    if (e.gelu)
      for (int j = 0; j < kColumns; ++j) x[j] = gelu(x[j]);
    if (e.gelu_of) {
      load_row(e.gelu_of + at, columns, term);
      for (int j = 0; j < kColumns; ++j) x[j] *= gelu_derivative(term[j]);
    }
    if (e.residual) {
      load_row(e.residual + at, columns, term);
      for (int j = 0; j < kColumns; ++j) x[j] += term[j];
    }
    store_row(x, columns, e.c + at);
  }
}

}  // namespace
}  // namespace nichelm
