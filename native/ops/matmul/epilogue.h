// What follows the sums, tile by tile while they are in the nearest cache.
#pragma once
#include "ops/matmul/micro_kernel.h"
#include "ops/matmul/pack.h"
#include "ops/matmul/plan.h"
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
  int64_t transposed = 0;  // where c += sum is wanted of the transposed product: rows of a group's c, which is (transposed, n) then

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

// Where a transposed product's tile begins in c.
template <class C> NICHELM_INLINE C* transposed_place(const Epilogue<C>& e, int64_t row, int64_t column) { return e.c + row / e.n * e.n * e.transposed + row % e.n + column * e.n; }

// The lines that a tile's result goes to, and those of one more operand (three are rare).
template <class C> NICHELM_INLINE Ahead::Result lines_of(const Epilogue<C>& e, int64_t row, int64_t column, int64_t rows, int64_t columns) {
  if (e.transposed) {
    const char* const to = reinterpret_cast<const char*>(transposed_place(e, row, column));
    return {to, to, columns, e.n * 4, e.n * 4, (rows - 1) * 4};
  }
  const C* other = e.pre ? e.pre : e.gelu_of ? e.gelu_of : e.residual ? e.residual : e.swiglu_of ? e.swiglu_of : e.c;
  const int64_t stride = e.stride(), other_stride = e.swiglu && e.pre ? e.n : stride, size = sizeof(C);
  const int64_t second = e.swiglu ? e.n / 2 * size : e.swiglu_of ? e.n * size : kColumns * size > 64 ? 64 : 0;  // with a gated linear unit, the other half
  return {reinterpret_cast<const char*>(e.c + row * stride + column), reinterpret_cast<const char*>(other + row * other_stride + column), rows, stride * size, other_stride * size, second};
}

// What follows the sums: nothing but bias, residual or what c holds already; bias and a gelu; a gelu's gradient; any of these; a gated linear unit; its gradient.
enum class Finish { plain, gelu, gelu_gradient, any, gated, gated_gradient };

// What becomes of the sums of some rows. operand(p), write(x, p): these rows of c, pre or an operand. Where the arithmetic is long there is no branch, or its
// constants would be loaded for every row: those of a gelu are as many loads as a core has time for.
template <Finish kFinish, class C, class X, class Operand, class Write> NICHELM_INLINE void finish_rows(const Epilogue<C>& e, X x, const X& bias, const Operand& operand, const Write& write) {
  if constexpr (kFinish == Finish::gelu) {
    x = x + bias;
    write(x, e.pre ? e.pre : e.c);  // written again below where it is not wanted
    return write(gelu<C>(x), e.c);
  }
  if constexpr (kFinish == Finish::gelu_gradient) return write(x * gelu_derivative<C>(operand(e.gelu_of)), e.c);
  if (e.accumulate) x = operand(e.c) + x;
  if (e.bias) x = x + bias;
  if constexpr (kFinish == Finish::any) {
    if (e.pre) write(x, e.pre);
    if (e.gelu) x = gelu<C>(x);
    if (e.gelu_of) x = x * gelu_derivative<C>(operand(e.gelu_of));
  }
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
    finish_rows<Finish::any>(e, load_pair(tile + i * kColumns, kColumns, here, kColumns), bias, operand, write);
  }
}

// Calls body with AllLanes or SomeLanes, as `here` of kLanes exist.
template <class Body> NICHELM_INLINE void with_lanes(int64_t here, const Body& body) { here >= kLanes ? body(AllLanes{}) : body(SomeLanes{here}); }

// c += x, of some lanes.
NICHELM_INLINE void add_lanes(Lanes x, int64_t count, float* c) {
#if defined(NICHELM_ISA_avx512) || defined(NICHELM_ISA_avx512bf16)
  const auto mask = static_cast<__mmask16>((1u << count) - 1);
  _mm512_mask_storeu_ps(c, mask, _mm512_maskz_loadu_ps(mask, c) + reinterpret_cast<__m512>(x));
#else
  for (int64_t l = 0; l < count; ++l) c[l] += x[l];
#endif
}

// finish of a transposed product: the tile's rows are c's columns. kLanes of either at a time are transposed in registers.
template <class C> void finish_transposed(const Epilogue<C>& e, const float* tile, int64_t row, int64_t column, int64_t rows, int64_t columns) {
  C* const to = transposed_place(e, row, column);
  for (int64_t i = 0; i < rows; i += kLanes)
    for (int64_t j = 0; j < columns; j += kLanes) {
      Words block[kLanes];
#pragma GCC unroll 16
      for (int l = 0; l < kLanes; ++l) block[l] = i + l < rows ? load_words(tile + (i + l) * kColumns + j) : Words{};
      transpose(block);
      const int64_t here = least(kLanes, rows - i);
#pragma GCC unroll 16
      for (int l = 0; l < kLanes; ++l)
        if (j + l < columns) add_lanes(reinterpret_cast<Lanes>(block[l]), here, to + (j + l) * e.n + i);
    }
}

// A gated linear unit of a row's gates and ups, from column `column` of each half on. Without a branch, as finish_rows.
template <class C, class Which> NICHELM_INLINE void swiglu_row(const Epilogue<C>& e, Lanes gates, Lanes ups, Lanes gate_bias, Lanes up_bias, int64_t row, int64_t column, Which lanes) {
  const int64_t hidden = e.n / 2;
  C *const to = e.c + row * hidden + column, *const pre = e.pre ? e.pre + row * e.n + column : to;
  gates += gate_bias, ups += up_bias;
  store(gates, pre, lanes), store(ups, e.pre ? pre + hidden : to, lanes);
  store(gates * gate_of(Several<1>{gates}).part[0] * ups, to, lanes);
}
template <class C, class Which> NICHELM_INLINE void swiglu_row(const Epilogue<C>& e, Lanes gates, Lanes ups, int64_t row, int64_t column, Which lanes) {
  swiglu_row(e, gates, ups, e.bias ? load(e.bias + column, lanes) : Lanes{}, e.bias ? load(e.bias + e.n / 2 + column, lanes) : Lanes{}, row, column, lanes);
}

// The gradient of a gated linear unit's gates and ups from that of its results. silu'(x) = s (1 + x (1 - s)), s = sigmoid(x).
template <class C, class Which> NICHELM_INLINE void swiglu_gradient_row(const Epilogue<C>& e, Lanes dy, int64_t row, int64_t column, Which lanes) {
  const int64_t at = row * 2 * e.n + column;
  const Lanes x = load(e.swiglu_of + at, lanes), up = load(e.swiglu_of + at + e.n, lanes), s = gate_of(Several<1>{x}).part[0];
  store(dy * up * (s * (1.0f + x * (1.0f - s))), e.c + at, lanes);
  store(dy * (x * s), e.c + at + e.n, lanes);
}

// finish of a product with a gated linear unit; `columns` are of c, or with swiglu_of of the product.
template <class C> void finish_gated(const Epilogue<C>& epilogue, const float* tile, int64_t row, int64_t column, int64_t rows, int64_t columns) {
  const Epilogue<C> e = epilogue;
  for (int64_t i = 0; i < rows; ++i) {
    const float* sums = tile + i * kColumns;
    if (e.swiglu) with_lanes(columns, [&](auto lanes) NICHELM_INLINE_LAMBDA { swiglu_row(e, load_floats(sums), load_floats(sums + kLanes), row + i, column, lanes); });
    else
      for (int64_t v = 0; v < columns; v += kLanes)
        with_lanes(columns - v, [&](auto lanes) NICHELM_INLINE_LAMBDA { swiglu_gradient_row(e, load_floats(sums + v), row + i, column + v, lanes); });
  }
}

// micro_kernel and finish in one, of a whole tile's columns, from the registers that hold the sums; the same operations. before: sums of other blocks, or null.
template <Finish kFinish, class Kind, int R, class C> void micro_kernel_finish(int64_t steps, const uint32_t* a, const uint32_t* b, const float* before, const Epilogue<C>& epilogue, int64_t row, int64_t column, Ahead& ahead) {
  Floats sum[R][kVectors];
  tile_sums<Kind>(steps, a, b, sum, &ahead);
  const Epilogue<C> e = epilogue;
  typedef Several<kVectors> Row;
  if (before)
#pragma GCC unroll 16
    for (int i = 0; i < R; ++i)
#pragma GCC unroll 4
      for (int v = 0; v < kVectors; ++v) sum[i][v] = load_floats(before + i * kColumns + v * kLanes) + sum[i][v];
  Row bias{};
  if (e.bias && kFinish == Finish::gated) bias.part[0] = load(e.bias + column, AllLanes{}), bias.part[1] = load(e.bias + e.n / 2 + column, AllLanes{});
  else if (e.bias) load_row(e.bias + column, kColumns, bias.part);
#pragma GCC unroll 16
  for (int i = 0; i < R; ++i) {
    const int64_t at = (row + i) * e.n + column;
    Row x;
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v) x.part[v] = sum[i][v];
    if constexpr (kFinish == Finish::gated) swiglu_row(e, x.part[0], x.part[1], bias.part[0], bias.part[1], row + i, column, AllLanes{});
    else if constexpr (kFinish == Finish::gated_gradient)
#pragma GCC unroll 4
      for (int v = 0; v < kVectors; ++v) swiglu_gradient_row(e, x.part[v], row + i, column + v * kLanes, AllLanes{});
    else {
      const auto operand = [&](const C* from) NICHELM_INLINE_LAMBDA {
        Row y;
        load_row(from + at, kColumns, y.part);
        return y;
      };
      const auto write = [&](const Row& y, C* to) NICHELM_INLINE_LAMBDA { store_row(y.part, kColumns, to + at); };
      finish_rows<kFinish>(e, x, bias, operand, write);
    }
  }
}
template <class Kind, class C> using FinishingKernel = void (*)(int64_t steps, const uint32_t* a, const uint32_t* b, const float* before, const Epilogue<C>& e, int64_t row, int64_t column, Ahead& ahead);

// The kernel of a full panel of rows, or of one fewer: what most tiles are. Null for others.
template <class Kind, class C> FinishingKernel<Kind, C> finishing_kernel_for(const Epilogue<C>& e, int64_t rows, int64_t columns) {
  if (columns != (e.swiglu ? kLanes : kColumns) || rows < kRows - 1 || e.transposed) return nullptr;
  const auto of = [rows](auto finish) -> FinishingKernel<Kind, C> { return rows == kRows ? micro_kernel_finish<finish(), Kind, kRows, C> : micro_kernel_finish<finish(), Kind, kRows - 1, C>; };
  const bool alone = !e.accumulate && !e.residual;
  if (e.swiglu) return of(std::integral_constant<Finish, Finish::gated>{});
  if (e.swiglu_of) return of(std::integral_constant<Finish, Finish::gated_gradient>{});
  if (alone && e.gelu && !e.gelu_of) return of(std::integral_constant<Finish, Finish::gelu>{});
  if (alone && e.gelu_of && !e.gelu && !e.bias && !e.pre) return of(std::integral_constant<Finish, Finish::gelu_gradient>{});
  if (e.gelu || e.gelu_of || e.pre) return of(std::integral_constant<Finish, Finish::any>{});
  return of(std::integral_constant<Finish, Finish::plain>{});
}

}  // namespace
}  // namespace nichelm
