// The gradient of attention of bf16 by mma.sync, deterministic and without scratch memory of the scores' size: one kernel goes through the keys of 64
// queries for dq, another through the queries of 64 keys for dk and dv. Each makes the weights anew from the scores and lse: seven products in all, where
// five and sums in an order left to chance would do.
#pragma once
#include "ops/attention/cuda_forward.h"

namespace nichelm {
namespace {

template <int D> constexpr size_t kQueryGradientBytes = (2 * kQueries + 4 * kKeys) * D * 2;

template <int D> __global__ void __launch_bounds__(kAttentionThreads) query_gradient(const Bf16* dy, const Bf16* qkv, const float* lse, const float* delta, Bf16* dqkv, int32_t* bad, Layout at) {
  using T = Tile<kKeys, D / 8>;
  Bf16 *queries = shared_memory<Bf16>(), *slopes = queries + T::kSize, *keys = slopes + T::kSize, *values = keys + 2 * T::kSize;
  const int head = static_cast<int>(blockIdx.y) % at.heads, kv = head / (at.heads / at.kv_heads), first_query = longest_first() * kQueries;
  const int64_t row = static_cast<int>(blockIdx.y) / at.heads;
  const Window q{qkv + at.query(row, head), at.width, at.length, at.d}, k{qkv + at.key(row, kv), at.width, at.length, at.d}, v{qkv + at.value(row, kv), at.width, at.length, at.d};
  const Window g{dy + at.output(row, head), at.output_width(), at.length, at.d};
  const int warp_row = threadIdx.x / 32 * 16, pair = threadIdx.x % 4 * 2;
  const int query = first_query + warp_row + threadIdx.x % 32 / 4;
  int start[2];
  float log_total[2], mean[2];
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    const bool inside = query + 8 * half < at.length;
    const int64_t statistic = at.statistic(row, head) + query + 8 * half;
    start[half] = inside ? at.start(row, query + 8 * half) : 0;
    log_total[half] = inside ? lse[statistic] * kLog2E : 0;
    mean[half] = inside ? delta[statistic] : 0;
  }
  const int last_query = first_query + kQueries < at.length ? first_query + kQueries - 1 : at.length - 1;
  const int first_tile = at.start(row, first_query) / kKeys, last_tile = last_query / kKeys;

  const auto load = [&](int tile) {
    const int stage = (tile - first_tile) % 2;
    if (tile <= last_tile) load_tile<T, kAttentionThreads, true>(keys + stage * T::kSize, k, tile * kKeys, 0), load_tile<T, kAttentionThreads, true>(values + stage * T::kSize, v, tile * kKeys, 0);
    commit_copies();
  };
  load_tile<T, kAttentionThreads, true>(queries, q, first_query, 0), load_tile<T, kAttentionThreads, true>(slopes, g, first_query, 0);
  load(first_tile);
  float sums[D / 8][4] = {};
  for (int tile = first_tile; tile <= last_tile; ++tile) {
    const int stage = (tile - first_tile) % 2;
    load(tile + 1);
    wait_copies<1>();
    __syncthreads();
    float s[kKeys / 8][4], ds[kKeys / 8][4];
    multiply_rows<T, T>(s, queries, warp_row, keys + stage * T::kSize);
    multiply_rows<T, T>(ds, slopes, warp_row, values + stage * T::kSize);
#pragma unroll
    for (int n = 0; n < kKeys / 8; ++n)
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        const int key = tile * kKeys + n * 8 + pair + i % 2;
        const bool seen = key >= start[i / 2] && key <= query + i / 2 * 8;
        ds[n][i] = seen ? exp2_fast(s[n][i] * (at.scale * kLog2E) - log_total[i / 2]) * (ds[n][i] - mean[i / 2]) : 0;
      }
    add_weighted<T>(sums, ds, keys + stage * T::kSize);
    __syncthreads();  // the next copies go where these tiles are
  }
  wait_copies<0>();
  tell_bad(bad_of(bad, first_query), nan_or_zero(sums));
  const float by[2] = {at.scale, at.scale};
  store_rows(sums, dqkv + at.query(row, head), at.width, query, at.length, at.d, by);
}

// Queries a step: their scores, and the sums for 16 keys, are all in registers.
template <int D> constexpr int kStepQueries = D == 64 ? 64 : 32;
template <int D> constexpr size_t kKeyGradientBytes = 2 * kKeys * D * 2 + 4 * kStepQueries<D> * D * 2 + 2 * 3 * kStepQueries<D> * 4;

template <int D> __global__ void __launch_bounds__(kAttentionThreads) key_gradient(const Bf16* dy, const Bf16* qkv, const float* lse, const float* delta, Bf16* dqkv, int32_t* bad, Layout at) {
  constexpr int kStep = kStepQueries<D>;
  using T = Tile<kKeys, D / 8>;
  using S = Tile<kStep, D / 8>;
  Bf16 *keys = shared_memory<Bf16>(), *values = keys + T::kSize, *queries = values + T::kSize, *slopes = queries + 2 * S::kSize;
  float *log_totals = reinterpret_cast<float*>(slopes + 2 * S::kSize), *means = log_totals + 2 * kStep;
  int32_t* starts = reinterpret_cast<int32_t*>(means + 2 * kStep);
  const int kv = static_cast<int>(blockIdx.y) % at.kv_heads, shared_by = at.heads / at.kv_heads, first_key = static_cast<int>(blockIdx.x) * kKeys;
  const int64_t row = static_cast<int>(blockIdx.y) / at.kv_heads;
  const int last_key = first_key + kKeys < at.length ? first_key + kKeys - 1 : at.length - 1;
  const int warp_row = threadIdx.x / 32 * 16, pair = threadIdx.x % 4 * 2;
  const int key = first_key + warp_row + threadIdx.x % 32 / 4;

  // Queries that see some of these keys: from the first of them on, up to where documents start behind the last.
  const int first_tile = first_key / kStep;
  int tiles = 1;
  while ((first_tile + tiles) * kStep < at.length && at.start(row, (first_tile + tiles) * kStep) <= last_key) ++tiles;
  const int steps = tiles * shared_by;

  const auto load = [&](int step) {
    if (step < steps) {
      const int head = kv * shared_by + step / tiles, first = (first_tile + step % tiles) * kStep;
      const int stage = step % 2;
      load_tile<S, kAttentionThreads, true>(queries + stage * S::kSize, Window{qkv + at.query(row, head), at.width, at.length, at.d}, first, 0);
      load_tile<S, kAttentionThreads, true>(slopes + stage * S::kSize, Window{dy + at.output(row, head), at.output_width(), at.length, at.d}, first, 0);
      for (int i = threadIdx.x; i < kStep; i += kAttentionThreads) {
        const bool inside = first + i < at.length;
        const int64_t statistic = at.statistic(row, head) + first + i;
        log_totals[stage * kStep + i] = inside ? lse[statistic] * kLog2E : 0;
        means[stage * kStep + i] = inside ? delta[statistic] : 0;
        starts[stage * kStep + i] = inside ? at.start(row, first + i) : INT32_MAX;  // sees nothing
      }
    }
    commit_copies();
  };
  load_tile<T, kAttentionThreads, true>(keys, Window{qkv + at.key(row, kv), at.width, at.length, at.d}, first_key, 0);
  load_tile<T, kAttentionThreads, true>(values, Window{qkv + at.value(row, kv), at.width, at.length, at.d}, first_key, 0);
  load(0);
  float key_sums[D / 8][4] = {}, value_sums[D / 8][4] = {};
  for (int step = 0; step < steps; ++step) {
    const int stage = step % 2;
    const int first = (first_tile + step % tiles) * kStep;
    load(step + 1);
    wait_copies<1>();
    __syncthreads();
    float p[kStep / 8][4], ds[kStep / 8][4];
    multiply_rows<T, S>(p, keys, warp_row, queries + stage * S::kSize);
    multiply_rows<T, S>(ds, values, warp_row, slopes + stage * S::kSize);
#pragma unroll
    for (int n = 0; n < kStep / 8; ++n)
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        const int at_query = stage * kStep + n * 8 + pair + i % 2;
        const int of = key + i / 2 * 8;
        const bool seen = of >= starts[at_query] && of <= first + n * 8 + pair + i % 2;
        p[n][i] = seen ? exp2_fast(p[n][i] * (at.scale * kLog2E) - log_totals[at_query]) : 0;
        ds[n][i] = seen ? p[n][i] * (ds[n][i] - means[at_query]) : 0;
      }
    add_weighted<S>(value_sums, p, slopes + stage * S::kSize);
    add_weighted<S>(key_sums, ds, queries + stage * S::kSize);
    __syncthreads();  // the next copies go where these tiles are
  }
  wait_copies<0>();
  tell_bad(bad_of(bad, first_key), nan_or_zero(key_sums, nan_or_zero(value_sums)));
  const float by_scale[2] = {at.scale, at.scale}, by_one[2] = {1, 1};
  store_rows(key_sums, dqkv + at.key(row, kv), at.width, key, at.length, at.d, by_scale);
  store_rows(value_sums, dqkv + at.value(row, kv), at.width, key, at.length, at.d, by_one);
}

}  // namespace
}  // namespace nichelm
