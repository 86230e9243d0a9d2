// A token or a few of a text: what is read are the keys and values of its cache, once, and one block a head would leave most of the GPU idle. So a block takes 128 keys
// of a token's head, and a small kernel behind adds the parts in their order. A warp takes 32 of the keys; so many lanes share one as its vectors of 16 bytes are.
#pragma once
#include "cuda/reduce.h"
#include "cuda/vector.h"
#include "ops/cached_attention/cuda_layout.h"

namespace nichelm {
namespace {

constexpr int kPartKeys = 128, kPartWarps = kPartKeys / 32, kPartThreads = 32 * kPartWarps;

// Of a part: the greatest score, the total of the weights, the sums of the values; (tokens, heads, parts, d + 2).
struct Parts {
  float* data;
  int64_t count;
  __device__ float* at(int64_t token, int64_t head, int64_t part, const CacheLayout& layout) const { return data + ((token * layout.heads + head) * count + part) * (layout.d + 2); }
};
inline int64_t parts_of(int64_t capacity) { return divide_up(capacity, kPartKeys); }

template <int kFirst> __device__ __forceinline__ float max_across(float x) {
#pragma unroll
  for (int by = kFirst; by < 32; by *= 2) x = fmaxf(x, __shfl_xor_sync(~0u, x, by));
  return x;
}
template <int kFirst, int kEnd> __device__ __forceinline__ float sum_across(float x) {
#pragma unroll
  for (int by = kFirst; by < kEnd; by *= 2) x += __shfl_xor_sync(~0u, x, by);
  return x;
}

inline __host__ __device__ int64_t part_floats(int64_t d) { return kPartWarps * (d + 2); }

// L lanes share a key.
template <class T, int L> __global__ void __launch_bounds__(kPartThreads) attend_part(const T* qkv, const T* keys, const T* values, Parts parts, CacheLayout at) {
  constexpr int V = kVector<T>, kTogether = 32 / L;
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32, column = lane % L * V;
  const int64_t token = blockIdx.x, head = blockIdx.y, row = token / at.length, place = at.place(row, token % at.length), d = at.d, first = int64_t{blockIdx.z} * kPartKeys + warp * 32;
  if (place < int64_t{blockIdx.z} * kPartKeys) return;
  const int64_t cache = at.cache(row, head / (at.heads / at.kv_heads), 0) + column;
  float q[V], s[L], sums[V] = {}, top = -INFINITY, total = 0;
  load_vector<V>(qkv + token * at.width() + head * d + column, q);
#pragma unroll
  for (int i = 0; i < L; ++i) {
    const int64_t j = first + i * kTogether + lane / L;
    float x[V], sum = 0;
    if (j <= place) {
      load_vector<V>(keys + cache + j * d, x);
#pragma unroll
      for (int c = 0; c < V; ++c) sum += q[c] * x[c];
    }
    sum = sum_across<1, L>(sum);
    s[i] = j <= place ? sum / sqrtf(static_cast<float>(d)) : -INFINITY;
    top = fmaxf(top, s[i]);
  }
  top = max_across<L>(top);
  const float base = top == -INFINITY ? 0 : top;
#pragma unroll
  for (int i = 0; i < L; ++i) {
    const int64_t j = first + i * kTogether + lane / L;
    const float p = expf(s[i] - base);
    total += p;
    if (j > place) continue;
    float x[V];
    load_vector<V>(values + cache + j * d, x);
#pragma unroll
    for (int c = 0; c < V; ++c) sums[c] += p * x[c];
  }
  total = sum_across<L, 32>(total);
  float *tops = shared_memory<float>(), *totals = tops + kPartWarps, *of_warps = totals + kPartWarps;
#pragma unroll
  for (int c = 0; c < V; ++c) {
    sums[c] = sum_across<L, 32>(sums[c]);
    if (lane < L) of_warps[warp * d + column + c] = sums[c];
  }
  if (lane == 0) tops[warp] = top, totals[warp] = total;
  __syncthreads();
  float most = tops[0], all = 0, shares[kPartWarps];
#pragma unroll
  for (int w = 1; w < kPartWarps; ++w) most = fmaxf(most, tops[w]);
#pragma unroll
  for (int w = 0; w < kPartWarps; ++w) shares[w] = tops[w] == -INFINITY ? 0 : expf(tops[w] - most), all += shares[w] * totals[w];
  float* out = parts.at(token, head, blockIdx.z, at);
  for (int64_t c = threadIdx.x; c < d; c += kPartThreads) {
    float sum = 0;
#pragma unroll
    for (int w = 0; w < kPartWarps; ++w) sum += shares[w] * of_warps[w * d + c];
    out[2 + c] = sum;
  }
  if (threadIdx.x == 0) out[0] = most, out[1] = all;
}

// A block a token and head.
template <class T> __global__ void __launch_bounds__(kPartThreads) add_attended(Parts parts, T* y, CacheLayout at) {
  const int64_t token = blockIdx.x, head = blockIdx.y, place = at.place(token / at.length, token % at.length), count = place < 0 ? 0 : place / kPartKeys + 1;
  const float* part = parts.at(token, head, 0, at);
  float most = -INFINITY;
  for (int64_t p = 0; p < count; ++p) most = fmaxf(most, part[p * (at.d + 2)]);
  const float base = most == -INFINITY ? 0 : most;
  for (int64_t c = threadIdx.x; c < at.d; c += kPartThreads) {
    float sum = 0, all = 0;
    for (int64_t p = 0; p < count; ++p) {
      const float* of = part + p * (at.d + 2);
      const float share = expf(of[0] - base);
      sum += share * of[2 + c], all += share * of[1];
    }
    narrow(count ? sum / all : 0, y[(token * at.heads + head) * at.d + c]);
  }
}

// Calls act with the number of lanes that share a key; whether there is such a number.
template <class T, class Act> bool with_lanes(int64_t d, const Act& act) {
  using std::integral_constant;
  switch (d % kVector<T> ? 0 : d / kVector<T>) {
    case 4: act(integral_constant<int, 4>{}); return true;
    case 8: act(integral_constant<int, 8>{}); return true;
    case 16: act(integral_constant<int, 16>{}); return true;
    case 32: act(integral_constant<int, 32>{}); return true;
    default: return false;
  }
}

}  // namespace
}  // namespace nichelm
