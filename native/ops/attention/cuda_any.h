// Attention for any head width and type, by ordinary multiply-adds in f32: a warp a query, or a warp a key. Its lanes share the keys (or queries) out
// for the scores, and the columns for the sums; weights go from the one to the other through shared memory.
#pragma once
#include "cuda/reduce.h"
#include "ops/attention/cuda_layout.h"

namespace nichelm {
namespace {

constexpr int kAnyWarps = 4;
// Shared memory of a warp: the weights of 32 keys, twice; two vectors of d; two sums of d.
inline __host__ __device__ int any_floats(int d) { return 64 + 4 * d; }

template <class T> __device__ __forceinline__ float dot(const float* x, const T* y, int d) {
  float sum = 0;
  for (int c = 0; c < d; ++c) sum += x[c] * widen(y[c]);
  return sum;
}

__device__ __forceinline__ float* any_memory(const Layout& at) { return shared_memory<float>() + threadIdx.x / 32 * any_floats(at.d); }

// A warp attends for query i: put(c, y) for every column. Its lse.
template <class T, class Put> __device__ __forceinline__ float attend_one(const T* qkv, const Layout& at, int64_t row, int head, int i, const Put& put) {
  const int lane = threadIdx.x % 32, kv = head / (at.heads / at.kv_heads);
  float *weights = any_memory(at), *q = weights + 64, *sums = q + at.d;
  const T *k = qkv + at.key(row, kv), *v = qkv + at.value(row, kv);
  for (int c = lane; c < at.d; c += 32) q[c] = widen(qkv[at.query(row, head) + i * at.width + c]), sums[c] = 0;
  __syncwarp();
  float top = -INFINITY, total = 0;
  for (int first = at.start(row, i); first <= i; first += 32) {
    const int j = first + lane;
    const float s = j <= i ? at.scale * dot(q, k + j * at.width, at.d) : -INFINITY;
    const float above = fmaxf(top, warp_max(s)), base = above == -INFINITY ? 0 : above, p = expf(s - base), shrink = expf(top - base);
    total = total * shrink + warp_sum(p);
    top = above;
    weights[lane] = p;
    __syncwarp();
    const int count = i - first + 1 < 32 ? i - first + 1 : 32;
    for (int c = lane; c < at.d; c += 32) {
      float sum = sums[c] * shrink;
      for (int n = 0; n < count; ++n) sum += weights[n] * widen(v[(first + n) * at.width + c]);
      sums[c] = sum;
    }
    __syncwarp();
  }
  for (int c = lane; c < at.d; c += 32) put(c, sums[c] / total);
  return top + logf(total);
}

template <class T> __global__ void __launch_bounds__(32 * kAnyWarps) attend_any(const T* qkv, T* y, float* lse, Layout at) {
  const int i = static_cast<int>(blockIdx.x) * kAnyWarps + static_cast<int>(threadIdx.x) / 32, head = static_cast<int>(blockIdx.y) % at.heads;
  const int64_t row = static_cast<int>(blockIdx.y) / at.heads;
  if (i >= at.length) return;
  T* out = y + at.output(row, head) + i * at.output_width();
  const float log_total = attend_one(qkv, at, row, head, i, [&](int c, float mean) { narrow(mean, out[c]); });
  if (threadIdx.x % 32 == 0) lse[at.statistic(row, head) + i] = log_total;
}

// A warp makes dq of query i, whose delta is mean: put(c, dq).
template <class T, class Put>
__device__ __forceinline__ void query_gradient_one(const T* dy, const T* qkv, const float* lse, float mean, const Layout& at, int64_t row, int head, int i, const Put& put) {
  const int lane = threadIdx.x % 32, kv = head / (at.heads / at.kv_heads);
  float *slopes = any_memory(at), *q = slopes + 64, *g = q + at.d, *sums = g + at.d;
  const T *k = qkv + at.key(row, kv), *v = qkv + at.value(row, kv);
  for (int c = lane; c < at.d; c += 32)
    q[c] = widen(qkv[at.query(row, head) + i * at.width + c]), g[c] = widen(dy[at.output(row, head) + i * at.output_width() + c]), sums[c] = 0;
  __syncwarp();
  const float log_total = lse[at.statistic(row, head) + i];
  for (int first = at.start(row, i); first <= i; first += 32) {
    const int j = first + lane;
    slopes[lane] = j <= i ? at.scale * expf(at.scale * dot(q, k + j * at.width, at.d) - log_total) * (dot(g, v + j * at.width, at.d) - mean) : 0;
    __syncwarp();
    const int count = i - first + 1 < 32 ? i - first + 1 : 32;
    for (int c = lane; c < at.d; c += 32) {
      float sum = sums[c];
      for (int n = 0; n < count; ++n) sum += slopes[n] * widen(k[(first + n) * at.width + c]);
      sums[c] = sum;
    }
    __syncwarp();
  }
  for (int c = lane; c < at.d; c += 32) put(c, sums[c]);
}

template <class T> __global__ void __launch_bounds__(32 * kAnyWarps) query_gradient_any(const T* dy, const T* qkv, const float* lse, const float* delta, T* dqkv, Layout at) {
  const int i = static_cast<int>(blockIdx.x) * kAnyWarps + static_cast<int>(threadIdx.x) / 32, head = static_cast<int>(blockIdx.y) % at.heads;
  const int64_t row = static_cast<int>(blockIdx.y) / at.heads;
  if (i >= at.length) return;
  T* out = dqkv + at.query(row, head) + i * at.width;
  query_gradient_one(dy, qkv, lse, delta[at.statistic(row, head) + i], at, row, head, i, [&](int c, float slope) { narrow(slope, out[c]); });
}

// A warp makes dk and dv of key j: the queries that see it follow it up to its document's end, for each head that shares it. mean(head, i): delta of a query;
// put(c, dk, dv).
template <class T, class Mean, class Put>
__device__ __forceinline__ void key_gradient_one(const T* dy, const T* qkv, const float* lse, const Mean& mean, const Layout& at, int64_t row, int kv, int j, const Put& put) {
  const int lane = threadIdx.x % 32, shared_by = at.heads / at.kv_heads;
  float *weights = any_memory(at), *slopes = weights + 32, *k = weights + 64, *v = k + at.d, *key_sums = v + at.d, *value_sums = key_sums + at.d;
  for (int c = lane; c < at.d; c += 32)
    k[c] = widen(qkv[at.key(row, kv) + j * at.width + c]), v[c] = widen(qkv[at.value(row, kv) + j * at.width + c]), key_sums[c] = value_sums[c] = 0;
  __syncwarp();
  for (int head = kv * shared_by; head < (kv + 1) * shared_by; ++head) {
    const T *q = qkv + at.query(row, head), *g = dy + at.output(row, head);
    for (int first = j; first < at.length && at.start(row, first) <= j; first += 32) {
      const int i = first + lane;
      const bool seen = i < at.length && at.start(row, i < at.length ? i : first) <= j;
      const float p = seen ? expf(at.scale * dot(k, q + i * at.width, at.d) - lse[at.statistic(row, head) + i]) : 0;
      weights[lane] = p;
      slopes[lane] = seen ? at.scale * p * (dot(v, g + i * at.output_width(), at.d) - mean(head, i)) : 0;
      const int count = __popc(__ballot_sync(~0u, seen));  // the first so many, since starts do not fall
      __syncwarp();
      for (int c = lane; c < at.d; c += 32) {
        float dk = key_sums[c], dv = value_sums[c];
        for (int n = 0; n < count; ++n) dk += slopes[n] * widen(q[(first + n) * at.width + c]), dv += weights[n] * widen(g[(first + n) * at.output_width() + c]);
        key_sums[c] = dk, value_sums[c] = dv;
      }
      __syncwarp();
    }
  }
  for (int c = lane; c < at.d; c += 32) put(c, key_sums[c], value_sums[c]);
}

template <class T> __global__ void __launch_bounds__(32 * kAnyWarps) key_gradient_any(const T* dy, const T* qkv, const float* lse, const float* delta, T* dqkv, Layout at) {
  const int j = static_cast<int>(blockIdx.x) * kAnyWarps + static_cast<int>(threadIdx.x) / 32, kv = static_cast<int>(blockIdx.y) % at.kv_heads;
  const int64_t row = static_cast<int>(blockIdx.y) / at.kv_heads;
  if (j >= at.length) return;
  T *dk = dqkv + at.key(row, kv) + j * at.width, *dv = dqkv + at.value(row, kv) + j * at.width;
  key_gradient_one(dy, qkv, lse, [&](int head, int i) { return delta[at.statistic(row, head) + i]; }, at, row, kv, j,
                   [&](int c, float key, float value) { narrow(key, dk[c]), narrow(value, dv[c]); });
}

inline dim3 any_grid(int64_t length, int64_t heads) { return dim3(static_cast<unsigned>(divide_up(length, kAnyWarps)), static_cast<unsigned>(heads)); }
inline size_t any_bytes(int d) { return static_cast<size_t>(kAnyWarps * any_floats(d)) * sizeof(float); }

}  // namespace
}  // namespace nichelm
