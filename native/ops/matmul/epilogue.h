// What follows the sums, tile by tile while they are in the nearest cache.
#pragma once
#include "ops/matmul/micro_kernel.h"
#include "runtime/several.h"

namespace nichelm {
namespace {

// c = activation(sum + bias) · gelu'(gelu_of) + residual, or c += sum. Null: no such term. gelu_of, residual, pre and c are (m, n) of one type.
// With swiglu, c (m, n / 2) is what a gated linear unit makes of sum + bias; a tile's first register of columns are gates then, its second what they let pass.
// With swiglu_of, which is (m, 2 n) as c, sum is the gradient of what a gated linear unit made of swiglu_of.
template <class C> struct Epilogue {
  C* c;
  int64_t n;
  const float* bias = nullptr;
  const C* gelu_of = nullptr;
  const C* residual = nullptr;
  C* pre = nullptr;
  bool gelu = false;
  bool accumulate = false;
  bool swiglu = false;
  const C* swiglu_of = nullptr;

  int64_t stride() const { return swiglu ? n / 2 : swiglu_of ? 2 * n : n; }  // between rows of c
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

// The lines that a tile's result goes to, and those of one more operand (three are rare).
template <class C> NICHELM_INLINE Ahead::Result lines_of(const Epilogue<C>& e, int64_t row, int64_t column, int64_t rows) {
  if (e.swiglu || e.swiglu_of) {
    const char* c = reinterpret_cast<const char*>(e.c + row * e.stride() + column);
    return {c, c, rows, e.stride() * int64_t{sizeof(C)}, 0};
  }
  const C* other = e.pre ? e.pre : e.gelu_of ? e.gelu_of : e.residual ? e.residual : e.c;
  const int64_t at = row * e.n + column;
  return {reinterpret_cast<const char*>(e.c + at), reinterpret_cast<const char*>(other + at), rows, e.n * int64_t{sizeof(C)}, kColumns * sizeof(C) > 64 ? 64 : 0};
}

// What becomes of the sums of some rows. operand(p), write(x, p): these rows of c, pre or an operand. kPlain: there is neither pre nor a gelu.
template <bool kPlain, class C, class X, class Operand, class Write> NICHELM_INLINE void finish_rows(const Epilogue<C>& e, X x, const X& bias, const Operand& operand, const Write& write) {
  if (e.accumulate) x = operand(e.c) + x;
  if (e.bias) x = x + bias;
  if (!kPlain && e.pre) write(x, e.pre);
  if (!kPlain && e.gelu) x = gelu<C>(x);
  if (!kPlain && e.gelu_of) x = x * gelu_derivative<C>(operand(e.gelu_of));
  if (e.residual) x = x + operand(e.residual);
  write(x, e.c);
}

// Arithmetic is on whole pairs of rows, also where only some columns or one row exist: the same code, so the same bits, wherever a tile falls.
template <class C> void finish(const Epilogue<C>& epilogue, const float* tile, int64_t row, int64_t column, int64_t rows, int64_t columns) {
  const Epilogue<C> e = epilogue;  // a copy, which the stores below cannot change
  Pair bias{};
  if (e.bias) bias = load_pair(e.bias + column, 0, kPair, columns);
  for (int64_t i = 0; i < rows; i += kPair) {
    const int64_t at = (row + i) * e.n + column, here = rows - i < kPair ? rows - i : kPair;
    const auto operand = [&](const auto* x) NICHELM_INLINE_LAMBDA { return load_pair(x + at, e.n, here, columns); };
    const auto write = [&](const Pair& x, C* to) NICHELM_INLINE_LAMBDA { store_pair(x, e.n, here, columns, to + at); };
    finish_rows<false>(e, load_pair(tile + i * kColumns, kColumns, here, kColumns), bias, operand, write);
  }
}

// A gated linear unit of a row's gates and ups, kLanes of which `here` exist, from column `column` of each half on.
template <class C> NICHELM_INLINE void swiglu_row(const Epilogue<C>& e, const float* gates, const float* ups, int64_t row, int64_t column, int64_t here) {
  const auto write = [=](Lanes x, C* to) NICHELM_INLINE_LAMBDA { here >= kLanes ? store(x, to, AllLanes{}) : store(x, to, SomeLanes{here}); };
  const auto bias = [&](const float* from) NICHELM_INLINE_LAMBDA { return here >= kLanes ? load(from, AllLanes{}) : load(from, SomeLanes{here}); };
  const int64_t hidden = e.n / 2;
  Several<1> gate{load_floats(gates)};
  Lanes up = load_floats(ups);
  if (e.bias) gate.part[0] += bias(e.bias + column), up += bias(e.bias + hidden + column);
  if (e.pre) write(gate.part[0], e.pre + row * e.n + column), write(up, e.pre + row * e.n + hidden + column);
  write(gate.part[0] * gate_of(gate).part[0] * up, e.c + row * hidden + column);
}

// The gradient of a gated linear unit's gates and ups from that of its results, kLanes of which `here` exist. silu'(x) = s (1 + x (1 - s)), s = sigmoid(x).
template <class C> NICHELM_INLINE void swiglu_gradient_row(const Epilogue<C>& e, const float* slopes, int64_t row, int64_t column, int64_t here) {
  const auto read = [=](const C* from) NICHELM_INLINE_LAMBDA { return here >= kLanes ? load(from, AllLanes{}) : load(from, SomeLanes{here}); };
  const auto write = [=](Lanes x, C* to) NICHELM_INLINE_LAMBDA { here >= kLanes ? store(x, to, AllLanes{}) : store(x, to, SomeLanes{here}); };
  const int64_t at = row * 2 * e.n + column;
  const Several<1> gate{read(e.swiglu_of + at)};
  const Lanes x = gate.part[0], up = read(e.swiglu_of + at + e.n), s = gate_of(gate).part[0], dy = load_floats(slopes);
  write(dy * up * (s * (1.0f + x * (1.0f - s))), e.c + at);
  write(dy * (x * s), e.c + at + e.n);
}

// finish of a product with a gated linear unit; `columns` are of c, or with swiglu_of of the product.
template <class C> void finish_gated(const Epilogue<C>& epilogue, const float* tile, int64_t row, int64_t column, int64_t rows, int64_t columns) {
  const Epilogue<C> e = epilogue;
  for (int64_t i = 0; i < rows; ++i) {
    const float* sums = tile + i * kColumns;
    if (e.swiglu) swiglu_row(e, sums, sums + kLanes, row + i, column, columns);
    else
      for (int64_t v = 0; v * kLanes < columns; ++v) swiglu_gradient_row(e, sums + v * kLanes, row + i, column + v * kLanes, columns - v * kLanes);
  }
}

// micro_kernel and finish in one, of a whole tile's columns, from the registers that hold the sums; the same operations. before: sums of other blocks, or null.
template <bool kPlain, class Kind, int R, class C> void micro_kernel_finish(int64_t steps, const uint32_t* a, const uint32_t* b, const float* before, const Epilogue<C>& epilogue, int64_t row, int64_t column, Ahead& ahead) {
  Floats sum[R][kVectors];
  tile_sums<Kind>(steps, a, b, sum, &ahead);
  const Epilogue<C> e = epilogue;
  typedef Several<kVectors> Row;
  Row bias{};
  if (e.bias) load_row(e.bias + column, kColumns, bias.part);
#pragma GCC unroll 16
  for (int i = 0; i < R; ++i) {
    const int64_t at = (row + i) * e.n + column;
    Row x;
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v) x.part[v] = before ? load_floats(before + i * kColumns + v * kLanes) + sum[i][v] : sum[i][v];
    const auto operand = [&](const C* from) NICHELM_INLINE_LAMBDA {
      Row y;
      load_row(from + at, kColumns, y.part);
      return y;
    };
    const auto write = [&](const Row& y, C* to) NICHELM_INLINE_LAMBDA { store_row(y.part, kColumns, to + at); };
    finish_rows<kPlain>(e, x, bias, operand, write);
  }
}
template <class Kind, class C> using FinishingKernel = void (*)(int64_t steps, const uint32_t* a, const uint32_t* b, const float* before, const Epilogue<C>& e, int64_t row, int64_t column, Ahead& ahead);

// The kernel of a full panel of rows, or of one fewer: what most tiles are. Null for others.
template <class Kind, class C> FinishingKernel<Kind, C> finishing_kernel_for(const Epilogue<C>& e, int64_t rows, int64_t columns) {
  if (columns != kColumns || rows < kRows - 1 || e.swiglu || e.swiglu_of) return nullptr;
  if (e.gelu || e.gelu_of || e.pre) return rows == kRows ? micro_kernel_finish<false, Kind, kRows, C> : micro_kernel_finish<false, Kind, kRows - 1, C>;
  return rows == kRows ? micro_kernel_finish<true, Kind, kRows, C> : micro_kernel_finish<true, Kind, kRows - 1, C>;
}

}  // namespace
}  // namespace nichelm
