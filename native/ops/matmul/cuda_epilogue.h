// What follows the sums of a product on a GPU: a tile of them goes through shared memory, so that whole lines of c are read and written.
#pragma once
#include "cuda/vector.h"
#include "runtime/math.h"

namespace nichelm {
namespace {

// c = activation(sum + bias) · gelu'(gelu_of) + residual, or c += sum, as in matmul.h. Null: no such term. gelu_of, residual, pre and c are (m, n) of one
// type, bf16 or f32. With swiglu_of, (m, 2 n) as c, the sum is the gradient of what a gated linear unit made of it. With swiglu, c is (m, n / 2): what a gated
// linear unit makes of sum + bias, which is kept in pre.
struct Epilogue {
  void* c;
  const float* bias;
  const void *gelu_of, *residual;
  void* pre;
  bool c_is_bf16, gelu, accumulate;
  const void* swiglu_of = nullptr;
  int64_t n = 0;  // with swiglu_of
  bool swiglu = false;
};

// kCount neighbours of a row, from element `at` and column `column` on.
template <int kCount, class C> __device__ __forceinline__ void finish(const Epilogue& e, int64_t at, int64_t column, float (&x)[kCount]) {
  float term[kCount];
  if (e.swiglu_of) {
    const int64_t gates = 2 * at - column;  // of row r: r 2 n + column
    float up[kCount];
    load_vector<kCount>(static_cast<const C*>(e.swiglu_of) + gates, term), load_vector<kCount>(static_cast<const C*>(e.swiglu_of) + gates + e.n, up);
#pragma unroll
    for (int j = 0; j < kCount; ++j) {
      const float s = gate_of(term[j]), slope = s * (1 + term[j] * (1 - s));
      up[j] *= x[j] * slope;
      x[j] *= term[j] * s;
    }
    store_vector<kCount>(up, static_cast<C*>(e.c) + gates), store_vector<kCount>(x, static_cast<C*>(e.c) + gates + e.n);
    return;
  }
  if (e.accumulate) {
    load_vector<kCount>(static_cast<const C*>(e.c) + at, term);
#pragma unroll
    for (int j = 0; j < kCount; ++j) x[j] += term[j];
  }
  if (e.bias) {
#pragma unroll
    for (int j = 0; j < kCount; ++j) x[j] += e.bias[column + j];
  }
  if (e.pre) store_vector<kCount>(x, static_cast<C*>(e.pre) + at);
  if (e.gelu) {
#pragma unroll
    for (int j = 0; j < kCount; ++j) x[j] = gelu(x[j]);
  }
  if (e.gelu_of) {
    load_vector<kCount>(static_cast<const C*>(e.gelu_of) + at, term);
#pragma unroll
    for (int j = 0; j < kCount; ++j) x[j] *= gelu_derivative(term[j]);
  }
  if (e.residual) {
    load_vector<kCount>(static_cast<const C*>(e.residual) + at, term);
#pragma unroll
    for (int j = 0; j < kCount; ++j) x[j] += term[j];
  }
  store_vector<kCount>(x, static_cast<C*>(e.c) + at);
}

// With swiglu: kCount neighbours of a row of gates, from `column` on, and of what they let pass.
template <int kCount, class C> __device__ __forceinline__ void finish_gated(const Epilogue& e, int64_t row, int64_t column, int64_t hidden, float (&gate)[kCount], float (&up)[kCount]) {
  if (e.bias) {
#pragma unroll
    for (int j = 0; j < kCount; ++j) gate[j] += e.bias[column + j], up[j] += e.bias[hidden + column + j];
  }
  if (e.pre) {
    C* pre = static_cast<C*>(e.pre) + row * 2 * hidden + column;
    store_vector<kCount>(gate, pre), store_vector<kCount>(up, pre + hidden);
  }
#pragma unroll
  for (int j = 0; j < kCount; ++j) up[j] *= gate[j] * gate_of(gate[j]);
  store_vector<kCount>(up, static_cast<C*>(e.c) + row * hidden + column);
}

// As with_vector, on the GPU.
template <class C, class Act> __device__ __forceinline__ void by_vectors(int64_t width, const Act& act) {
  if (width % kVector<C> == 0) act(std::integral_constant<int, kVector<C>>{});
  else act(std::integral_constant<int, 1>{});
}

// The sums of a tile in shared memory. Rows are 4 floats longer than the tile, so that the fragments of a warp go to different banks.
template <int kRows, int kColumns> struct SumTile {
  static constexpr int kStride = kColumns + 4, kBytes = kRows * kStride * 4;

  // All threads, when the tile is written: finishes what lies inside (m, n).
  template <int kThreads, int kCount, class C> static __device__ __forceinline__ void finish_all(const float* sums, const Epilogue& e, int64_t row, int64_t column, int64_t m, int64_t n) {
    constexpr int kPerRow = kColumns / kCount;
    for (int i = threadIdx.x; i < kRows * kPerRow; i += kThreads) {
      const int r = i / kPerRow, c = i % kPerRow * kCount;
      if (row + r >= m || column + c >= n) continue;
      float x[kCount];
#pragma unroll
      for (int j = 0; j < kCount; ++j) x[j] = sums[r * kStride + c + j];
      finish<kCount, C>(e, (row + r) * n + column + c, column + c, x);
    }
  }
  template <int kThreads> static __device__ __forceinline__ void finish_all(const float* sums, const Epilogue& e, int64_t row, int64_t column, int64_t m, int64_t n) {
    if (e.c_is_bf16) {
      if (n % 8 == 0) finish_all<kThreads, 8, Bf16>(sums, e, row, column, m, n);
      else finish_all<kThreads, 1, Bf16>(sums, e, row, column, m, n);
    } else {
      if (n % 4 == 0) finish_all<kThreads, 4, float>(sums, e, row, column, m, n);
      else finish_all<kThreads, 1, float>(sums, e, row, column, m, n);
    }
  }

  // With swiglu: the first half of the columns are gates, from `column` on, the second what they let pass.
  template <int kThreads, class C> static __device__ __forceinline__ void finish_gates(const float* sums, const Epilogue& e, int64_t row, int64_t column, int64_t m, int64_t hidden) {
    by_vectors<C>(hidden, [&](auto count) {
      constexpr int kCount = count, kPerRow = kColumns / 2 / kCount;
      for (int i = threadIdx.x; i < kRows * kPerRow; i += kThreads) {
        const int r = i / kPerRow, c = i % kPerRow * kCount;
        if (row + r >= m || column + c >= hidden) continue;
        float gate[kCount], up[kCount];
#pragma unroll
        for (int j = 0; j < kCount; ++j) gate[j] = sums[r * kStride + c + j], up[j] = sums[r * kStride + kColumns / 2 + c + j];
        finish_gated<kCount, C>(e, row + r, column + c, hidden, gate, up);
      }
    });
  }
};

// Operands of group g of a stack are those of the first, moved on.
template <class P> __device__ __forceinline__ P* moved_on(P* p, int64_t bytes) { return p ? reinterpret_cast<P*>(reinterpret_cast<uintptr_t>(p) + static_cast<uintptr_t>(bytes)) : p; }
__device__ __forceinline__ Epilogue of_gated_group(Epilogue e, int64_t elements) {
  const int64_t bytes = elements * (e.c_is_bf16 ? 2 : 4);
  e.c = moved_on(e.c, bytes / 2), e.pre = moved_on(e.pre, bytes);
  return e;
}
__device__ __forceinline__ Epilogue of_group(Epilogue e, int64_t elements) {
  const int64_t bytes = elements * (e.c_is_bf16 ? 2 : 4) * (e.swiglu_of ? 2 : 1);
  const auto moved = [bytes](auto* p) { return moved_on(p, bytes); };
  e.c = moved(e.c), e.gelu_of = moved(e.gelu_of), e.residual = moved(e.residual), e.pre = moved(e.pre), e.swiglu_of = moved(e.swiglu_of);
  return e;
}

}  // namespace
}  // namespace nichelm
