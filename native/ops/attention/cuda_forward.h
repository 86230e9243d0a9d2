// Attention of bf16 by mma.sync, after FlashAttention-2 (Dao, arXiv 2307.08691): a block takes 64 queries of a head and goes through the keys they see, 64
// at a time, with an online softmax; a warp keeps 16 queries' scores and sums in registers. Keys and values arrive by asynchronous copies, one tile ahead.
#pragma once
#include "cuda/tile.h"
#include "ops/attention/cuda_layout.h"

namespace nichelm {
namespace {

constexpr int kQueries = 64, kKeys = 64, kAttentionThreads = 128;
constexpr float kLog2E = 1.4426950408889634f, kLn2 = 0.6931471805599453f;

// 16 rows of weights (accumulators of products) as the operand a of the next, columns 16 k .. 16 k + 15.
__device__ __forceinline__ void weights_as_a(uint32_t (&a)[4], const float (&s)[4], const float (&t)[4]) {
  a[0] = pack_bf16(s[0], s[1]), a[1] = pack_bf16(s[2], s[3]), a[2] = pack_bf16(t[0], t[1]), a[3] = pack_bf16(t[2], t[3]);
}

// s (16 x 8 kColumns) = rows of tile a · rows of tile b, both 16 kDepth wide.
template <class TileA, class TileB, int kColumns> __device__ __forceinline__ void multiply_rows(float (&s)[kColumns][4], Bf16* a, int row, Bf16* b) {
#pragma unroll
  for (int n = 0; n < kColumns; ++n) s[n][0] = s[n][1] = s[n][2] = s[n][3] = 0;
#pragma unroll
  for (int k = 0; k < TileA::kChunkCount * 8; k += 16) {
    uint32_t of_a[4], of_b[4];
    load_a<TileA, false>(of_a, a, row, k);
#pragma unroll
    for (int n = 0; n < kColumns; n += 2) {
      load_b<TileB, false>(of_b, b, n * 8, k);
      multiply_matrices(s[n], of_a, of_b[0], of_b[1]), multiply_matrices(s[n + 1], of_a, of_b[2], of_b[3]);
    }
  }
}

// sums (16 x width of tile b) += weights (16 x rows of tile b) · tile b
template <class TileB, int kRows, int kColumns> __device__ __forceinline__ void add_weighted(float (&sums)[kColumns][4], const float (&weights)[kRows][4], Bf16* b) {
#pragma unroll
  for (int k = 0; k < kRows; k += 2) {
    uint32_t of_a[4], of_b[4];
    weights_as_a(of_a, weights[k], weights[k + 1]);
#pragma unroll
    for (int n = 0; n < kColumns; n += 2) {
      load_b<TileB, true>(of_b, b, n * 8, k * 8);
      multiply_matrices(sums[n], of_a, of_b[0], of_b[1]), multiply_matrices(sums[n + 1], of_a, of_b[2], of_b[3]);
    }
  }
}

// Rows row and row + 8 of a warp's sums to `to`, times by[0] and by[1]; columns from d on are padding.
template <int kColumns> __device__ __forceinline__ void store_rows(const float (&sums)[kColumns][4], Bf16* to, int64_t stride, int row, int rows, int d, const float (&by)[2]) {
  const int pair = threadIdx.x % 4 * 2;
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    if (row + 8 * half >= rows) continue;
#pragma unroll
    for (int n = 0; n < kColumns; ++n)
      if (n * 8 < d) *reinterpret_cast<uint32_t*>(to + (row + 8 * half) * stride + n * 8 + pair) = pack_bf16(sums[n][2 * half] * by[half], sums[n][2 * half + 1] * by[half]);
  }
}

// Where a warp says whether its sums are finite; a block has 64 tokens of a head.
__device__ __forceinline__ int32_t* bad_of(int32_t* bad, int first) { return bad + int64_t{blockIdx.y} * gridDim.x * (kQueries / kGroup) + first / kGroup + threadIdx.x / 32; }

// Blocks with the most keys first.
__device__ __forceinline__ int longest_first() { return static_cast<int>(gridDim.x - 1 - blockIdx.x); }

template <int D> constexpr size_t kForwardBytes = (kQueries + 4 * kKeys) * D * 2;

// A block's queries (64, of which a warp has 16 and a lane two, 8 apart) over tiles of keys and values: before they are divided, the sums of the values; of each of
// the lane's queries the greatest score, and its part of the weights' total. D: d padded with zeros.
template <int D> struct Attended {
  float sums[D / 8][4] = {}, top[2] = {-INFINITY, -INFINITY}, total[2] = {0, 0};

  // Sums of the four lanes that share a query; what to divide by.
  __device__ __forceinline__ void finish(float (&by)[2]) {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      total[half] += __shfl_xor_sync(~0u, total[half], 1);
      total[half] += __shfl_xor_sync(~0u, total[half], 2);
      by[half] = 1 / total[half];
    }
  }
};

// Which of a tile's keys a query does not see is asked only where some(tile) says so: hides(half, key), of the lane's first or second query.
template <int D, class Some, class Hides>
__device__ __forceinline__ void attend_tiles(Attended<D>& own, const Window& q, const Window& k, const Window& v, int first_query, int first_tile, int last_tile, float scale, const Some& some, const Hides& hides) {
  using T = Tile<kKeys, D / 8>;
  Bf16 *queries = shared_memory<Bf16>(), *keys = queries + T::kSize, *values = keys + 2 * T::kSize;  // two tiles each of keys and of values
  const int warp_row = threadIdx.x / 32 * 16, pair = threadIdx.x % 4 * 2;
  load_tile<T, kAttentionThreads, true>(queries, q, first_query, 0), load_tile<T, kAttentionThreads, true>(keys, k, first_tile * kKeys, 0);
  commit_copies();
  load_tile<T, kAttentionThreads, true>(values, v, first_tile * kKeys, 0);
  commit_copies();

  for (int tile = first_tile; tile <= last_tile; ++tile) {
    const int stage = (tile - first_tile) % 2;
    wait_copies<1>();
    __syncthreads();  // this tile's keys are there, and those of the last are read
    if (tile < last_tile) load_tile<T, kAttentionThreads, true>(keys + (1 - stage) * T::kSize, k, (tile + 1) * kKeys, 0);
    commit_copies();
    float s[kKeys / 8][4];
    multiply_rows<T, T>(s, queries, warp_row, keys + stage * T::kSize);
    if (some(tile)) {
#pragma unroll
      for (int n = 0; n < kKeys / 8; ++n)
#pragma unroll
        for (int i = 0; i < 4; ++i)
          if (hides(i / 2, tile * kKeys + n * 8 + pair + i % 2)) s[n][i] = -INFINITY;
    }
    float shrink[2];
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      float most = own.top[half];
#pragma unroll
      for (int n = 0; n < kKeys / 8; ++n) most = fmaxf(most, fmaxf(s[n][2 * half], s[n][2 * half + 1]));
      most = fmaxf(most, __shfl_xor_sync(~0u, most, 1));
      most = fmaxf(most, __shfl_xor_sync(~0u, most, 2));
      const float by = scale * kLog2E, base = most == -INFINITY ? 0 : most;  // nothing seen yet
      shrink[half] = exp2_fast((own.top[half] - base) * by);
      own.top[half] = most;
      float sum = 0;
#pragma unroll
      for (int n = 0; n < kKeys / 8; ++n)
#pragma unroll
        for (int i = 2 * half; i < 2 * half + 2; ++i) s[n][i] = exp2_fast((s[n][i] - base) * by), sum += s[n][i];
      own.total[half] = own.total[half] * shrink[half] + sum;
    }
#pragma unroll
    for (int n = 0; n < D / 8; ++n)
#pragma unroll
      for (int i = 0; i < 4; ++i) own.sums[n][i] *= shrink[i / 2];
    wait_copies<1>();
    __syncthreads();  // this tile's values are there, and those of the last are read
    if (tile < last_tile) load_tile<T, kAttentionThreads, true>(values + (1 - stage) * T::kSize, v, (tile + 1) * kKeys, 0);
    commit_copies();
    add_weighted<T>(own.sums, s, values + stage * T::kSize);
  }
  wait_copies<0>();
}

template <int D> __global__ void __launch_bounds__(kAttentionThreads) attend(const Bf16* qkv, Bf16* y, float* lse, int32_t* bad, Layout at) {
  const int head = static_cast<int>(blockIdx.y) % at.heads, kv = head / (at.heads / at.kv_heads), first_query = longest_first() * kQueries;
  const int64_t row = static_cast<int>(blockIdx.y) / at.heads;
  const Window q{qkv + at.query(row, head), at.width, at.length, at.d}, k{qkv + at.key(row, kv), at.width, at.length, at.d}, v{qkv + at.value(row, kv), at.width, at.length, at.d};
  const int query = first_query + threadIdx.x / 32 * 16 + threadIdx.x % 32 / 4;  // and query + 8
  int start[2];
#pragma unroll
  for (int half = 0; half < 2; ++half) start[half] = query + 8 * half < at.length ? at.start(row, query + 8 * half) : 0;
  const int last_query = first_query + kQueries < at.length ? first_query + kQueries - 1 : at.length - 1;
  const int last_start = at.start(row, last_query);
  Attended<D> own;
  attend_tiles(own, q, k, v, first_query, at.start(row, first_query) / kKeys, last_query / kKeys, at.scale, [&](int tile) { return (tile + 1) * kKeys > first_query || tile * kKeys < last_start; },
               [&](int half, int key) { return key < start[half] || key > query + half * 8; });
  tell_bad(bad_of(bad, first_query), nan_or_zero(own.sums));
  float by[2];
  own.finish(by);
#pragma unroll
  for (int half = 0; half < 2; ++half)
    if (threadIdx.x % 4 == 0 && query + 8 * half < at.length) lse[at.statistic(row, head) + query + 8 * half] = own.top[half] * at.scale + logf(own.total[half]);
  store_rows(own.sums, y + at.output(row, head), at.output_width(), query, at.length, at.d, by);
}

}  // namespace
}  // namespace nichelm
