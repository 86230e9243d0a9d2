// CPU kernel: packed, cache-blocked product (gemm.h; of few rows thin.h) of register tiles (micro_kernel.h), the epilogue on each tile while it is hot (epilogue.h).
// bf16 operands are multiplied in pairs where the CPU has bf16 dot products, and widened to f32 while packing where it does not.
#include "ops/matmul/apart.h"
#include "ops/matmul/gemm.h"
#include "ops/matmul/matmul.h"
#include "ops/matmul/thin.h"

namespace nichelm {
namespace {

template <class T> struct KindOf { using type = SingleF32; };
#ifdef NICHELM_ISA_avx512bf16
template <> struct KindOf<Bf16> { using type = PairBf16; };
#endif

// a, of m x k elements a group.
template <class T, class Op> Operand<T> rows_of(const Op& op, int64_t m, int64_t k, int64_t apart) {
  const int64_t width = op.transpose_a ? m : k, stride = apart ? apart : width;
  return {op.a.template as<const T>(), stride, !op.transpose_a, (op.transpose_a ? k : m) * stride};
}

// Of few rows the sums are written out first: a task has them by columns that lie side by side, not by pairs of a gate and what it lets pass.
template <class T, class C> void multiply_few_gated(Cpu& device, const Operand<T>& a, const Operand<T>& b, int64_t groups, int64_t m, int64_t n, int64_t k, const Epilogue<C>& epilogue) {
  auto* sums = static_cast<float*>(device.shared_scratch((groups * m * n + kLanes) * 4, 3));
  ThinProduct<typename KindOf<T>::type, T, float>(device, a, b, groups, m, n, k, Epilogue<float>{sums, n}).compute();
  const int64_t columns = epilogue.swiglu ? n / 2 : n, chunks = divide_up(columns, kLanes);
  device.split(groups * m * chunks, [&](int64_t first, int64_t last) {
    for (int64_t i = first; i < last; ++i) {
      const int64_t row = i / chunks, column = i % chunks * kLanes;
      const float* at = sums + row * n + column;
      with_lanes(columns - column, [&](auto lanes) NICHELM_INLINE_LAMBDA {
        epilogue.swiglu ? swiglu_row(epilogue, load_floats(at), load_floats(at + n / 2), row, column, lanes) : swiglu_gradient_row(epilogue, load_floats(at), row, column, lanes);
      });
    }
  });
}

// Groups share out the rows of a and have a matrix of b each, or where stacked_c share out the rows of a and b along k and have a result each.
// apart: elements from one row of a in memory to the next, where these are more than are in it (of one group only).
template <class T, class C, class Op> void multiply(Cpu& device, const Op& op, bool stacked_c, const Epilogue<C>& epilogue, int64_t apart = 0) {
  const int64_t groups = op.groups(), m = op.m() / (stacked_c ? 1 : groups), n = op.n(), k = op.k() / (stacked_c ? groups : 1);
  if (m == 0 || n == 0) return;
  const Operand<T> a = rows_of<T>(op, m, k, apart);
  const Operand<T> b{op.b.template as<const T>(), op.transpose_b ? k : n, op.transpose_b, k * n};
  if (!op.transpose_a && m <= kThinRows && (epilogue.swiglu || epilogue.swiglu_of)) return multiply_few_gated(device, a, b, groups, m, n, k, epilogue);
  if (!op.transpose_a && m <= kThinRows) ThinProduct<typename KindOf<T>::type, T, C>(device, a, b, groups, m, n, k, epilogue).compute();
  else Product<typename KindOf<T>::type, T, C>(device, a, b, groups, m, n, k, epilogue).compute();
}

// Panels of b's width are whole lines of memory where k lies across rows, those of a's are not: where a is the wider operand by much, and each of its panels is
// multiplied by few of the other, so that packing counts, the product is made transposed. The same sums, to the bit.
constexpr int64_t kNarrow = 256;
template <class T, class Op> void accumulate(Cpu& device, const Op& op, int64_t apart = 0) {
  const Epilogue<float> epilogue{op.c.template as<float>(), op.n(), nullptr, nullptr, nullptr, nullptr, false, true};
  const int64_t groups = op.stacked_c() ? op.groups() : 1, k = op.k() / groups, m = op.m(), n = op.n();
  const bool turned = op.transpose_a && !op.transpose_b && n > 0 && (deep_shape(m, n, divide_up(k, KindOf<T>::type::values)) ? m > n : m >= 4 * n && n <= kNarrow);
  if (!turned) return multiply<T>(device, op, op.stacked_c(), epilogue, apart);
  Epilogue<float> transposed = epilogue;
  transposed.transposed = m;
  const Operand<T> a = rows_of<T>(op, m, k, apart), b{op.b.template as<const T>(), n, false, k * n};
  Product<typename KindOf<T>::type, T, float>(device, b, a, groups, n, m, k, transposed).compute();
}

template <class T, class C> void matmul(Cpu& device, const RowsApart<Matmul>& rows) {
  const Matmul& op = rows.op;
  multiply<T>(device, op, false, Epilogue<C>{op.c.as<C>(), rows.c ? rows.c : op.n(), op.bias.as<const float>(), op.gelu_of.as<const C>(), op.residual.as<const C>(), op.pre.as<C>(), op.gelu, false}, rows.a);
}

template <class T> void matmul_swiglu(Cpu& device, const MatmulSwiglu& op) {
  Epilogue<T> epilogue{op.c.as<T>(), op.n(), op.bias.as<const float>()};
  epilogue.pre = op.pre.as<T>(), epilogue.swiglu = true;
  multiply<T>(device, op, false, epilogue);
}

template <class T> void matmul_swiglu_gradient(Cpu& device, const MatmulSwigluGradient& op) {
  Epilogue<T> epilogue{op.dx.as<T>(), op.n()};
  epilogue.swiglu_of = op.x.as<const T>();
  multiply<T>(device, op, false, epilogue);
}

}  // namespace

template <> void run(cpu::NICHELM_ISA& device, const RowsApart<Matmul>& rows) {
  if (rows.op.a.type == Type::f32) matmul<float, float>(device, rows);
  else if (rows.op.c.type == Type::f32) matmul<Bf16, float>(device, rows);
  else matmul<Bf16, Bf16>(device, rows);
}
template <> void run(cpu::NICHELM_ISA& device, const Matmul& op) { run(device, RowsApart<Matmul>{op}); }

template <> void run(cpu::NICHELM_ISA& device, const MatmulSwiglu& op) { op.a.type == Type::f32 ? matmul_swiglu<float>(device, op) : matmul_swiglu<Bf16>(device, op); }
template <> void run(cpu::NICHELM_ISA& device, const MatmulSwigluGradient& op) { op.a.type == Type::f32 ? matmul_swiglu_gradient<float>(device, op) : matmul_swiglu_gradient<Bf16>(device, op); }

template <> void run(cpu::NICHELM_ISA& device, const RowsApart<MatmulAccumulate>& rows) {
  rows.op.a.type == Type::f32 ? accumulate<float>(device, rows.op, rows.a) : accumulate<Bf16>(device, rows.op, rows.a);
}
template <> void run(cpu::NICHELM_ISA& device, const MatmulAccumulate& op) { run(device, RowsApart<MatmulAccumulate>{op}); }

}  // namespace nichelm
