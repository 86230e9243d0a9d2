// Where the vectors of attention lie, for its CUDA kernels.
#pragma once
#include "cuda/reduce.h"

namespace nichelm {
namespace {

// qkv and dqkv: (rows, length, width); y and dy: (rows, length, heads d); lse and delta: (rows, heads, length). Blocks count heads of all rows.
struct Layout {
  int64_t width;  // elements of a token of qkv
  int length, heads, kv_heads, d;
  const int32_t* starts;
  float scale;

  __device__ int64_t query(int64_t row, int head) const { return row * length * width + head * d; }
  __device__ int64_t key(int64_t row, int kv_head) const { return row * length * width + (heads + kv_head) * d; }
  __device__ int64_t value(int64_t row, int kv_head) const { return key(row, kv_head) + kv_heads * d; }
  __device__ int64_t output(int64_t row, int head) const { return row * length * output_width() + head * d; }
  __host__ __device__ int64_t output_width() const { return int64_t{heads} * d; }
  __device__ int64_t statistic(int64_t row, int head) const { return (row * heads + head) * length; }
  // The first key that token t sees. A caller's slip must not read out of bounds.
  __device__ int start(int64_t row, int t) const {
    const int s = starts[row * length + t];
    return s < 0 ? 0 : s > t ? t : s;
  }
};

template <class Op> Layout layout_of(const Op& op) {
  const auto small = [](int64_t x) { return static_cast<int>(x); };  // check() has seen that a token's width is
  return {op.qkv.width(), small(op.starts.width()), small(op.heads), small(op.kv_heads), small(op.head_width()), op.starts.template as<const int32_t>(), 1 / sqrtf(static_cast<float>(op.head_width()))};
}

// Tensor cores multiply hidden pairs too, by 0, and 0 times what is not finite is NaN. So each warp says of its 16 tokens whether a sum is not finite, in
// bad: (heads of all rows, groups of 16 tokens), and cuda_repair.h looks at those.
constexpr int kGroup = 16;
template <int kCount> __device__ __forceinline__ float nan_or_zero(const float (&sums)[kCount], float x = 0) {
#pragma unroll
  for (int i = 0; i < kCount; ++i) x = fmaf(sums[i], 0, x);
  return x;
}
template <int kColumns> __device__ __forceinline__ float nan_or_zero(const float (&sums)[kColumns][4], float x = 0) {
#pragma unroll
  for (int n = 0; n < kColumns; ++n) x = nan_or_zero(sums[n], x);
  return x;
}
// x: NaN where one of a lane's sums is not finite.
__device__ __forceinline__ void tell_bad(int32_t* bad, float x) {
  const bool some = __ballot_sync(~0u, x != 0) != 0;
  if (threadIdx.x % 32 == 0) *bad = some;
}

// delta[i] = dy[i] · y[i] = sum over keys of p dp, a warp a token and head.
constexpr int kDeltaWarps = 4;
template <class T> __global__ void __launch_bounds__(32 * kDeltaWarps) find_delta(const T* dy, const T* y, float* delta, Layout at, int64_t tokens) {
  const int64_t item = int64_t{blockIdx.x} * kDeltaWarps + threadIdx.x / 32;
  if (item >= tokens * at.heads) return;
  const int64_t token = item / at.heads, from = item * at.d;
  const int head = static_cast<int>(item % at.heads);
  float sum = 0;
  for (int c = threadIdx.x % 32; c < at.d; c += 32) sum += widen(dy[from + c]) * widen(y[from + c]);
  sum = warp_sum(sum);
  if (threadIdx.x % 32 == 0) delta[at.statistic(token / at.length, head) + token % at.length] = sum;
}

}  // namespace
}  // namespace nichelm
