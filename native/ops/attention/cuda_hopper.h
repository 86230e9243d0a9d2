// Attention of bf16 by Hopper's own instructions, after FlashAttention-3 (Shah et al., arXiv 2407.08608): a block takes 128 queries of a head; one thread has
// the copy engine bring keys and values, two warpgroups of 64 queries each go through the keys they see, 128 at a time, from the last to the first. While
// the tensor cores make the next scores and add the last weighted values, the weights are found; the two warpgroups take turns at the tensor cores.
#pragma once
#include "cuda/warpgroup.h"
#include "ops/attention/cuda_layout.h"

namespace nichelm {
namespace {

constexpr int kHopperRows = 128, kHopperThreads = 384, kSlabBytes = kHopperRows * kBoxRowBytes;
constexpr float kLog2OfE = 1.4426950408889634f;
enum NamedBarrier : int { kGroupBarrier = 1, kTurnBarrier = 3 };  // + 0, + 1: of each consumer

// Tokens of one head of one row as boxes of 64 columns, D / 64 of them beside each other in shared memory: (columns, tokens, heads, rows).
inline TensorShape heads_of(const Layout& at, int64_t width, int64_t heads, int64_t rows) { return {{at.d, at.length, heads, rows}, {1, width, at.d, at.length * width}}; }
template <int D, int kTokens> __device__ __forceinline__ void load_tokens(unsigned char* into, const TensorMap* map, int token, int head, int row, Mbarrier* landed) {
#pragma unroll
  for (int slab = 0; slab < D / 64; ++slab) load_box(into + slab * kTokens * kBoxRowBytes, map, slab * 64, token, head, row, landed);
}
// Two halves of bf16 in a box.
__device__ __forceinline__ void put_pair(unsigned char* box, int row, int chunk, int pair, uint32_t both) {
  *reinterpret_cast<uint32_t*>(box_chunk(reinterpret_cast<Bf16*>(box), row, chunk) + pair) = both;
}
// Sums of a warpgroup (64 x D) to 64 rows of slabs of kTokens rows, rounded, row 16 w + l / 4 + 8 half times by[half]; seen by tensor stores afterwards.
template <int D, int kTokens> __device__ __forceinline__ void put_sums(unsigned char* rows, const float (&sums)[D / 2], const float (&by)[2]) {
  const int row = threadIdx.x % 128 / 32 * 16 + threadIdx.x % 32 / 4, pair = threadIdx.x % 4 * 2;
#pragma unroll
  for (int n = 0; n < D / 8; ++n)
#pragma unroll
    for (int half = 0; half < 2; ++half)
      put_pair(rows + n / 8 * kTokens * kBoxRowBytes, row + 8 * half, n % 8, pair, pack_bf16(sums[4 * n + 2 * half] * by[half], sums[4 * n + 2 * half + 1] * by[half]));
  fence_async_proxy();
}
// Where a warp of a consumer says whether its sums are finite; head: of all rows. A block has 128 tokens of it.
__device__ __forceinline__ int32_t* bad_of_consumer(int32_t* bad, int64_t head, int first) { return bad + head * gridDim.x * (kHopperRows / kGroup) + first / kGroup + threadIdx.x / 32 - 4; }
// Sums of a product as the operand a of the next, columns 16 j .. 16 j + 15.
template <int kSteps> __device__ __forceinline__ void sums_as_a(uint32_t (&a)[kSteps][4], const float (&x)[8 * kSteps]) {
#pragma unroll
  for (int j = 0; j < kSteps; ++j)
#pragma unroll
    for (int i = 0; i < 4; ++i) a[j][i] = pack_bf16(x[8 * j + 2 * i], x[8 * j + 2 * i + 1]);
}

template <int D> struct HopperForward {
  static constexpr int kStages = 2, kTileBytes = D / 64 * kSlabBytes;
  static constexpr size_t kBytes = (1 + 2 * kStages) * kTileBytes + (1 + 4 * kStages) * sizeof(Mbarrier);
};

// The online softmax of a tile of 128 scores a row: they become weights; top and total go on, shrink is what the sums so far are to be multiplied by.
__device__ __forceinline__ void weigh(float (&s)[64], float (&top)[2], float (&total)[2], float (&shrink)[2], float by) {
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    float most = top[half];
#pragma unroll
    for (int n = 0; n < 16; ++n) most = fmaxf(most, fmaxf(s[4 * n + 2 * half], s[4 * n + 2 * half + 1]));
    most = fmaxf(most, __shfl_xor_sync(~0u, most, 1));
    most = fmaxf(most, __shfl_xor_sync(~0u, most, 2));
    const float base = most == -INFINITY ? 0 : most * by;  // nothing seen yet
    shrink[half] = exp2_fast(top[half] * by - base);
    top[half] = most;
    float sum = 0;
#pragma unroll
    for (int n = 0; n < 16; ++n)
#pragma unroll
      for (int i = 4 * n + 2 * half; i < 4 * n + 2 * half + 2; ++i) s[i] = exp2_fast(s[i] * by - base), sum += s[i];
    total[half] = total[half] * shrink[half] + sum;
  }
}

// D: d padded with zeros to 64 or 128.
template <int D> __global__ void __launch_bounds__(kHopperThreads, 1) attend_hopper(const __grid_constant__ TensorMap map, const __grid_constant__ TensorMap map_y, float* lse, int32_t* bad, const Layout at) {
#if NICHELM_HOPPER
  using F = HopperForward<D>;
  constexpr int kTile = F::kTileBytes;
  unsigned char *queries = shared_memory<unsigned char>(), *keys = queries + kTile, *values = keys + F::kStages * kTile;
  Mbarrier *queries_full = reinterpret_cast<Mbarrier*>(values + F::kStages * kTile), *keys_full = queries_full + 1, *keys_empty = keys_full + F::kStages, *values_full = keys_empty + F::kStages,
           *values_empty = values_full + F::kStages;
  const int head = static_cast<int>(blockIdx.y) % at.heads, kv = head / (at.heads / at.kv_heads), row = static_cast<int>(blockIdx.y) / at.heads;
  const int first_query = static_cast<int>(gridDim.x - 1 - blockIdx.x) * kHopperRows;  // blocks with the most keys first
  const int last_query = first_query + kHopperRows < at.length ? first_query + kHopperRows - 1 : at.length - 1;
  const int first_tile = at.start(row, first_query) / kHopperRows, last_tile = last_query / kHopperRows;
  const int warpgroup = threadIdx.x / 128, lane = threadIdx.x % 32;
  if (threadIdx.x == 0) {
    mbarrier_init(queries_full, 1);
    for (int i = 0; i < F::kStages; ++i) mbarrier_init(keys_full + i, 1), mbarrier_init(values_full + i, 1), mbarrier_init(keys_empty + i, 8), mbarrier_init(values_empty + i, 8);
    mbarrier_fence_init();
  }
  __syncthreads();

  if (warpgroup == 0) {
    give_registers<24>();
    if (threadIdx.x != 0) return;
    const int key_head = at.heads + kv, value_head = key_head + at.kv_heads;
    Stage<F::kStages> at_keys, at_values;
    const auto load = [&](unsigned char* into, Mbarrier* full, Mbarrier* empty, Stage<F::kStages>& stage, int of_head, int tile) {
      mbarrier_wait(empty + stage.index, stage.parity ^ 1);
      mbarrier_expect(full + stage.index, kTile);
      load_tokens<D, kHopperRows>(into + stage.index * kTile, &map, tile * kHopperRows, of_head, row, full + stage.index);
      stage.advance();
    };
    mbarrier_expect(queries_full, kTile);
    load_tokens<D, kHopperRows>(queries, &map, first_query, head, row, queries_full);
    load(keys, keys_full, keys_empty, at_keys, key_head, last_tile);
    for (int tile = last_tile; tile >= first_tile; --tile) {
      if (tile > first_tile) load(keys, keys_full, keys_empty, at_keys, key_head, tile - 1);
      load(values, values_full, values_empty, at_values, value_head, tile);
    }
    return;
  }

  take_registers<240>();
  const int consumer = warpgroup - 1, first_row = first_query + 64 * consumer, query = first_row + threadIdx.x % 128 / 32 * 16 + lane / 4, pair = lane % 4 * 2;  // and query + 8
  const float by = at.scale * kLog2OfE;
  int start[2];
#pragma unroll
  for (int half = 0; half < 2; ++half) start[half] = query + 8 * half < at.length ? at.start(row, query + 8 * half) : 0;
  const int last_start = at.start(row, last_query);
  unsigned char* own_queries = queries + 64 * consumer * kBoxRowBytes;
  Stage<F::kStages> at_keys, at_values;
  float s[64], sums[D / 2], top[2] = {-INFINITY, -INFINITY}, total[2] = {0, 0}, shrink[2];
  uint32_t weights[8][4];

  const auto start_scores = [&] {
    mbarrier_wait(keys_full + at_keys.index, at_keys.parity);
    product_fence();
#pragma unroll
    for (int k = 0; k < D / 16; ++k) {
      const int slab = k / 4 * kSlabBytes;
      start_product<false, false>(s, advance<false>(operand_along(own_queries + slab), k % 4), advance<false>(operand_along(keys + at_keys.index * kTile + slab), k % 4), k != 0);
    }
    commit_products();
  };
  const auto start_sums = [&](bool add) {
    mbarrier_wait(values_full + at_values.index, at_values.parity);
    product_fence(sums, weights);
#pragma unroll
    for (int k = 0; k < 8; ++k) start_product<true>(sums, weights[k], advance<true>(operand_across(values + at_values.index * kTile, kSlabBytes), k), add || k);
    commit_products();
  };
  const auto release = [&](Mbarrier* empty, Stage<F::kStages>& stage) {
    if (lane == 0) mbarrier_arrive(empty + stage.index);
    stage.advance();
  };
  const auto find_weights = [&](int tile) {
    if ((tile + 1) * kHopperRows > first_row || tile * kHopperRows < last_start) {  // some query does not see all of these keys
#pragma unroll
      for (int i = 0; i < 64; ++i) {
        const int key = tile * kHopperRows + i / 4 * 8 + pair + i % 2, half = i / 2 % 2;
        if (key < start[half] || key > query + 8 * half) s[i] = -INFINITY;
      }
    }
    weigh(s, top, total, shrink, by);
  };

  mbarrier_wait(queries_full, 0);
  start_scores();
  if (consumer == 1 && first_tile < last_tile) barrier_arrive(kTurnBarrier, 256);
  wait_products<0>(s);
  release(keys_empty, at_keys);
  find_weights(last_tile);
  sums_as_a(weights, s);
  for (int tile = last_tile - 1; tile >= first_tile; --tile) {
    barrier_wait(kTurnBarrier + consumer, 256);
    start_scores();
    start_sums(tile + 2 <= last_tile);
    if (consumer == 0 || tile > first_tile) barrier_arrive(kTurnBarrier + 1 - consumer, 256);
    wait_products<1>(s);
    release(keys_empty, at_keys);
    find_weights(tile);
    wait_products<0>(sums, weights);
    release(values_empty, at_values);
#pragma unroll
    for (int i = 0; i < D / 2; ++i) sums[i] *= shrink[i / 2 % 2];
    sums_as_a(weights, s);
  }
  start_sums(first_tile < last_tile);
  wait_products<0>(sums, weights);
  tell_bad(bad_of_consumer(bad, blockIdx.y, first_query), nan_or_zero(sums));

#pragma unroll
  for (int half = 0; half < 2; ++half) {
    total[half] += __shfl_xor_sync(~0u, total[half], 1);
    total[half] += __shfl_xor_sync(~0u, total[half], 2);
    if (pair == 0 && query + 8 * half < at.length) lse[at.statistic(row, head) + query + 8 * half] = top[half] * at.scale + logf(total[half]);
    shrink[half] = 1 / total[half];
  }
  // Through the place of the warpgroup's own queries, which all of its warps have read.
  barrier_wait(kGroupBarrier + consumer, 128);
  put_sums<D, kHopperRows>(own_queries, sums, shrink);
  barrier_wait(kGroupBarrier + consumer, 128);
  if (threadIdx.x % 128 == 0) {
#pragma unroll
    for (int slab = 0; slab < D / 64; ++slab) store_box(&map_y, slab * 64, first_row, head, row, own_queries + slab * kSlabBytes);
    commit_stores();
    wait_stores<0>();
  }
#endif
}

// False where it cannot.
template <int D> bool attend_by_hopper(Cuda& device, const Layout& at, int64_t rows, const Bf16* qkv, Bf16* y, float* lse, int32_t* bad) {
  const TensorShape shape = heads_of(at, at.width, at.heads + 2 * at.kv_heads, rows), shape_y = heads_of(at, at.output_width(), at.heads, rows);
  if (!device.hopper() || !tensor_map_fits(qkv, shape) || !tensor_map_fits(y, shape_y)) return false;
  const dim3 grid(static_cast<unsigned>(divide_up(at.length, kHopperRows)), static_cast<unsigned>(rows * at.heads));
  device.launch("attend_hopper", attend_hopper<D>, grid, kHopperThreads, HopperForward<D>::kBytes, tensor_map(qkv, shape, kHopperRows), tensor_map(y, shape_y, 64), lse, bad, at);
  return true;
}

}  // namespace
}  // namespace nichelm
