// The gradient of attention of bf16 by Hopper's own instructions, deterministic and without atomics. A block takes 128 keys of a head and goes through the
// queries that see them, 64 at a time, and the query heads that share it: five of the seven products of cuda_backward.h less two, since it leaves the slopes
// of the scores (transposed, in bf16) in scratch memory; a second kernel makes dq of them, a product with the keys. Everything is transposed, so that weights
// and slopes go from one product to the next in registers, as FlashAttention-3 does it.
#pragma once
#include "ops/attention/cuda_hopper.h"

namespace nichelm {
namespace {

constexpr int kStepRows = 64, kStepSlab = kStepRows * kBoxRowBytes;
// Of each query of a step: log2 of the sum of its weights, delta, the first key that it sees; as they lie in scratch memory.
constexpr int kStatistics = 3 * kStepRows, kStatisticsBytes = kStatistics * 4;

inline __host__ __device__ int steps_of(const Layout& at) { return (at.length + kStepRows - 1) / kStepRows; }

// A warp a query and head. Queries beyond the row's end see nothing.
constexpr int kStatisticsWarps = 4;
__global__ void __launch_bounds__(32 * kStatisticsWarps) gather_statistics(const Bf16* dy, const Bf16* y, const float* lse, float* statistics, Layout at, int64_t heads) {
  const int padded = steps_of(at) * kStepRows;
  const int64_t item = int64_t{blockIdx.x} * kStatisticsWarps + threadIdx.x / 32, head_of_rows = item / padded;
  if (head_of_rows >= heads) return;
  const int query = static_cast<int>(item % padded), head = static_cast<int>(head_of_rows % at.heads);
  const int64_t row = head_of_rows / at.heads;
  const bool inside = query < at.length;
  float sum = 0;
  if (inside) {
    const int64_t from = at.output(row, head) + query * at.output_width();
    for (int c = threadIdx.x % 32; c < at.d; c += 32) sum += widen(dy[from + c]) * widen(y[from + c]);
  }
  sum = warp_sum(sum);
  if (threadIdx.x % 32 != 0) return;
  float* to = statistics + (head_of_rows * steps_of(at) + query / kStepRows) * kStatistics + query % kStepRows;
  to[0] = inside ? lse[at.statistic(row, head) + query] * kLog2OfE : 0;
  to[kStepRows] = sum;
  reinterpret_cast<int32_t*>(to)[2 * kStepRows] = inside ? at.start(row, query) : INT32_MAX;
}

// Heads whose slopes are in scratch memory at once: of `units` heads of keys from `first` on, each with the query heads that share it.
struct HopperUnits {
  int64_t first, units;
  __device__ __forceinline__ int64_t row(const Layout& at, unsigned unit) const { return (first + unit) / at.kv_heads; }
  __device__ __forceinline__ int kv(const Layout& at, unsigned unit) const { return static_cast<int>((first + unit) % at.kv_heads); }
};

template <int D> struct HopperKeys {
  static constexpr int kStages = 3, kTileBytes = D / 64 * kSlabBytes, kStepBytes = D / 64 * kStepSlab, kStageBytes = 2 * kStepBytes + 1024, kSlopeBuffers = 3;
  static constexpr size_t kBytes = 2 * kTileBytes + kStages * kStageBytes + 2 * kSlopeBuffers * kStepSlab + (1 + 2 * kStages) * sizeof(Mbarrier);
};
static_assert(HopperKeys<128>::kBytes <= 232448);

// map: of qkv by 128 tokens; map_steps: the same by 64; map_dy: by 64; map_gradient: of dqkv by 64; map_slopes: (queries, keys, heads), by 64 keys.
template <int D>
__global__ void __launch_bounds__(kHopperThreads, 1)
    key_gradient_hopper(const __grid_constant__ TensorMap map, const __grid_constant__ TensorMap map_steps, const __grid_constant__ TensorMap map_dy, const __grid_constant__ TensorMap map_gradient,
                        const __grid_constant__ TensorMap map_slopes, const float* statistics, int32_t* bad, const Layout at, const HopperUnits units) {
#if NICHELM_HOPPER
  using K = HopperKeys<D>;
  unsigned char *keys = shared_memory<unsigned char>(), *values = keys + K::kTileBytes, *stages = values + K::kTileBytes, *all_slopes = stages + K::kStages * K::kStageBytes;
  Mbarrier *keys_full = reinterpret_cast<Mbarrier*>(all_slopes + 2 * K::kSlopeBuffers * kStepSlab), *full = keys_full + 1, *empty = full + K::kStages;
  const int row = static_cast<int>(units.row(at, blockIdx.y)), kv = units.kv(at, blockIdx.y), shared_by = at.heads / at.kv_heads, first_key = static_cast<int>(blockIdx.x) * kHopperRows;
  const int last_key = first_key + kHopperRows < at.length ? first_key + kHopperRows - 1 : at.length - 1;
  const int warpgroup = threadIdx.x / 128, lane = threadIdx.x % 32;
  // Queries that see some of these keys: from the first of them on, up to where documents start behind the last. By 128, as the second kernel reads slopes.
  int last_query = first_key + kHopperRows;
  while (last_query < at.length && at.start(row, last_query) <= last_key) last_query += kHopperRows;
  const int first_step = first_key / kStepRows, end = last_query / kStepRows < steps_of(at) ? last_query / kStepRows : steps_of(at), steps = end - first_step;
  if (threadIdx.x == 0) {
    mbarrier_init(keys_full, 1);
    for (int i = 0; i < K::kStages; ++i) mbarrier_init(full + i, 1), mbarrier_init(empty + i, 8);
    mbarrier_fence_init();
  }
  __syncthreads();
  Stage<K::kStages> stage;

  if (warpgroup == 0) {
    give_registers<24>();
    if (threadIdx.x != 0) return;
    mbarrier_expect(keys_full, 2 * K::kTileBytes);
    load_tokens<D, kHopperRows>(keys, &map, first_key, at.heads + kv, row, keys_full);
    load_tokens<D, kHopperRows>(values, &map, first_key, at.heads + at.kv_heads + kv, row, keys_full);
    for (int head = kv * shared_by; head < (kv + 1) * shared_by; ++head)
      for (int step = first_step; step < end; ++step, stage.advance()) {
        unsigned char* into = stages + stage.index * K::kStageBytes;
        Mbarrier* landed = full + stage.index;
        mbarrier_wait(empty + stage.index, stage.parity ^ 1);
        mbarrier_expect(landed, 2 * K::kStepBytes + kStatisticsBytes);
        load_tokens<D, kStepRows>(into, &map_steps, step * kStepRows, head, row, landed);
        load_tokens<D, kStepRows>(into + K::kStepBytes, &map_dy, step * kStepRows, head, row, landed);
        load_bulk(into + 2 * K::kStepBytes, statistics + ((int64_t{row} * at.heads + head) * steps_of(at) + step) * kStatistics, kStatisticsBytes, landed);
      }
    return;
  }

  take_registers<240>();
  const int consumer = warpgroup - 1, first_row = first_key + 64 * consumer, warp_row = threadIdx.x % 128 / 32 * 16 + lane / 4, key = first_row + warp_row, pair = lane % 4 * 2;  // and key + 8
  const float by = at.scale * kLog2OfE;
  unsigned char *own_keys = keys + 64 * consumer * kBoxRowBytes, *own_values = values + 64 * consumer * kBoxRowBytes, *slopes = all_slopes + consumer * K::kSlopeBuffers * kStepSlab;
  float p[32], ds[32], key_sums[D / 2], value_sums[D / 2];
  uint32_t weights_a[4][4], slopes_a[4][4];
  int buffer = 0;
  mbarrier_wait(keys_full, 0);
  for (int i = 0; i < steps * shared_by; ++i, stage.advance()) {
    const int step = first_step + i % steps, first_query = step * kStepRows;
    const unsigned plane = blockIdx.y * static_cast<unsigned>(shared_by) + static_cast<unsigned>(i / steps);
    unsigned char *queries = stages + stage.index * K::kStageBytes, *dy = queries + K::kStepBytes;
    const float* log_totals = reinterpret_cast<const float*>(dy + K::kStepBytes);
    const float* means = log_totals + kStepRows;
    const int32_t* starts = reinterpret_cast<const int32_t*>(means + kStepRows);
    mbarrier_wait(full + stage.index, stage.parity);
    product_fence();
#pragma unroll
    for (int k = 0; k < D / 16; ++k)
      start_product<false, false>(p, advance<false>(operand_along(own_keys + k / 4 * kSlabBytes), k % 4), advance<false>(operand_along(queries + k / 4 * kStepSlab), k % 4), k != 0);
    commit_products();
#pragma unroll
    for (int k = 0; k < D / 16; ++k)
      start_product<false, false>(ds, advance<false>(operand_along(own_values + k / 4 * kSlabBytes), k % 4), advance<false>(operand_along(dy + k / 4 * kStepSlab), k % 4), k != 0);
    commit_products();
    wait_products<1>(p);
    const bool all_seen = first_query >= first_row + 63 && starts[kStepRows - 1] <= first_row;
#pragma unroll
    for (int n = 0; n < 8; ++n) {
      const float2 log_total = *reinterpret_cast<const float2*>(log_totals + 8 * n + pair);
#pragma unroll
      for (int j = 0; j < 4; ++j) p[4 * n + j] = exp2_fast(p[4 * n + j] * by - (j % 2 ? log_total.y : log_total.x));
      if (!all_seen) {
#pragma unroll
        for (int j = 0; j < 4; ++j) {
          const int query = 8 * n + pair + j % 2, of = key + j / 2 * 8;
          if (of < starts[query] || of > first_query + query) p[4 * n + j] = 0;
        }
      }
    }
    sums_as_a(weights_a, p);
    product_fence(value_sums, weights_a);
#pragma unroll
    for (int k = 0; k < 4; ++k) start_product<true>(value_sums, weights_a[k], advance<true>(operand_across(dy, kStepSlab), k), i || k);
    commit_products();
    wait_products<1>(ds);
#pragma unroll
    for (int n = 0; n < 8; ++n) {
      const float2 mean = *reinterpret_cast<const float2*>(means + 8 * n + pair);
#pragma unroll
      for (int j = 0; j < 4; ++j) {
        ds[4 * n + j] = p[4 * n + j] * (ds[4 * n + j] - (j % 2 ? mean.y : mean.x));
        if (!all_seen) {  // what is not seen counts nothing, even where it is not finite
          const int query = 8 * n + pair + j % 2, of = key + j / 2 * 8;
          if (of < starts[query] || of > first_query + query) ds[4 * n + j] = 0;
        }
      }
    }
    sums_as_a(slopes_a, ds);
    // Slopes leave through one of three places: the store of the step before the last has read its own when this one's barrier is passed.
    unsigned char* place = slopes + buffer * kStepSlab;
#pragma unroll
    for (int k = 0; k < 4; ++k)
#pragma unroll
      for (int j = 0; j < 4; ++j) put_pair(place, warp_row + j % 2 * 8, 2 * k + j / 2, pair, slopes_a[k][j]);
    fence_async_proxy();
    product_fence(key_sums, slopes_a);
#pragma unroll
    for (int k = 0; k < 4; ++k) start_product<true>(key_sums, slopes_a[k], advance<true>(operand_across(queries, kStepSlab), k), i || k);
    commit_products();
    barrier_wait(kGroupBarrier + consumer, 128);
    if (threadIdx.x % 128 == 0) {
      store_box(&map_slopes, first_query, first_row, static_cast<int>(plane), 0, place);
      commit_stores();
      wait_stores<1>();
    }
    if (++buffer == K::kSlopeBuffers) buffer = 0;
    wait_products<0>(value_sums, key_sums, weights_a, slopes_a);
    __syncwarp();  // the statistics are read
    if (lane == 0) mbarrier_arrive(empty + stage.index);
  }

  tell_bad(bad_of_consumer(bad, units.first + blockIdx.y, first_key), nan_or_zero(key_sums, nan_or_zero(value_sums)));
  // Through the places of the warpgroup's own keys and values, which all of its warps have read.
  barrier_wait(kGroupBarrier + consumer, 128);
  const float by_scale[2] = {at.scale, at.scale}, by_one[2] = {1, 1};
  put_sums<D, kHopperRows>(own_keys, key_sums, by_scale);
  put_sums<D, kHopperRows>(own_values, value_sums, by_one);
  barrier_wait(kGroupBarrier + consumer, 128);
  if (threadIdx.x % 128 == 0) {
#pragma unroll
    for (int slab = 0; slab < D / 64; ++slab) {
      store_box(&map_gradient, slab * 64, first_row, at.heads + kv, row, own_keys + slab * kSlabBytes);
      store_box(&map_gradient, slab * 64, first_row, at.heads + at.kv_heads + kv, row, own_values + slab * kSlabBytes);
    }
    commit_stores();
    wait_stores<0>();
  }
#endif
}

template <int D> struct HopperQueries {
  static constexpr int kStages = 4, kSlopeBytes = 2 * kStepSlab, kStageBytes = kSlopeBytes + D / 64 * kStepSlab, kTileBytes = D / 64 * kSlabBytes;
  static constexpr size_t kBytes = kStages * kStageBytes + kTileBytes + 2 * kStages * sizeof(Mbarrier);
};

// dq of 128 queries: their slopes times the keys that they see, 64 at a time.
template <int D>
__global__ void __launch_bounds__(kHopperThreads, 1)
    query_gradient_hopper(const __grid_constant__ TensorMap map_slopes, const __grid_constant__ TensorMap map_steps, const __grid_constant__ TensorMap map_gradient, int32_t* bad, const Layout at, const HopperUnits units) {
#if NICHELM_HOPPER
  using Q = HopperQueries<D>;
  unsigned char *stages = shared_memory<unsigned char>(), *out = stages + Q::kStages * Q::kStageBytes;
  Mbarrier *full = reinterpret_cast<Mbarrier*>(out + Q::kTileBytes), *empty = full + Q::kStages;
  const int shared_by = at.heads / at.kv_heads;
  const unsigned unit = blockIdx.y / static_cast<unsigned>(shared_by);
  const int row = static_cast<int>(units.row(at, unit)), kv = units.kv(at, unit), head = kv * shared_by + static_cast<int>(blockIdx.y) % shared_by;
  const int first_query = static_cast<int>(gridDim.x - 1 - blockIdx.x) * kHopperRows;  // blocks with the most keys first
  const int first_step = at.start(row, first_query) / kHopperRows * 2, last = first_query / kStepRows + 2, end = last < steps_of(at) ? last : steps_of(at);
  const int warpgroup = threadIdx.x / 128, lane = threadIdx.x % 32;
  if (threadIdx.x == 0) {
    for (int i = 0; i < Q::kStages; ++i) mbarrier_init(full + i, 1), mbarrier_init(empty + i, 8);
    mbarrier_fence_init();
  }
  __syncthreads();
  Stage<Q::kStages> stage;

  if (warpgroup == 0) {
    give_registers<40>();
    if (threadIdx.x != 0) return;
    for (int step = first_step; step < end; ++step, stage.advance()) {
      unsigned char* into = stages + stage.index * Q::kStageBytes;
      Mbarrier* landed = full + stage.index;
      mbarrier_wait(empty + stage.index, stage.parity ^ 1);
      mbarrier_expect(landed, Q::kStageBytes);
      for (int part = 0; part < 2; ++part) load_box(into + part * kStepSlab, &map_slopes, first_query + part * 64, step * kStepRows, static_cast<int>(blockIdx.y), 0, landed);
      load_tokens<D, kStepRows>(into + Q::kSlopeBytes, &map_steps, step * kStepRows, at.heads + kv, row, landed);
    }
    return;
  }

  take_registers<232>();
  const int consumer = warpgroup - 1;
  float sums[D / 2];
  int multiplied = -1;  // the stage of the last step's
  for (int step = first_step; step < end; ++step, stage.advance()) {
    unsigned char* slopes = stages + stage.index * Q::kStageBytes;
    mbarrier_wait(full + stage.index, stage.parity);
    product_fence();
#pragma unroll
    for (int k = 0; k < 4; ++k)
      start_product<true, true>(sums, advance<true>(operand_across(slopes + consumer * kStepSlab, kStepSlab), k), advance<true>(operand_across(slopes + Q::kSlopeBytes, kStepSlab), k), step != first_step || k);
    commit_products();
    wait_products<1>();
    if (multiplied >= 0 && lane == 0) mbarrier_arrive(empty + multiplied);
    multiplied = stage.index;
  }
  wait_products<0>(sums);
  tell_bad(bad_of_consumer(bad, int64_t{row} * at.heads + head, first_query), nan_or_zero(sums));
  unsigned char* own = out + 64 * consumer * kBoxRowBytes;
  const float by[2] = {at.scale, at.scale};
  put_sums<D, kHopperRows>(own, sums, by);
  barrier_wait(kGroupBarrier + consumer, 128);
  if (threadIdx.x % 128 == 0) {
#pragma unroll
    for (int slab = 0; slab < D / 64; ++slab) store_box(&map_gradient, slab * 64, first_query + 64 * consumer, head, row, own + slab * kSlabBytes);
    commit_stores();
    wait_stores<0>();
  }
#endif
}

// False where it cannot: another GPU, rows that the copy engine cannot take, or slopes of one head that would take too much memory.
template <int D> bool gradient_by_hopper(Cuda& device, const Layout& at, int64_t rows, const Bf16* dy, const Bf16* qkv, const Bf16* y, const float* lse, Bf16* dqkv, int32_t* bad_queries, int32_t* bad_keys) {
  constexpr int64_t kWanted = int64_t{512} << 20, kMost = int64_t{2} << 30;  // bytes of slopes
  const int64_t all_heads = at.heads + 2 * at.kv_heads, shared_by = at.heads / at.kv_heads, units = rows * at.kv_heads, steps = steps_of(at), padded = steps * kStepRows;
  const int64_t bytes = shared_by * padded * padded * 2, at_once = kWanted / bytes < 1 ? 1 : kWanted / bytes < units ? kWanted / bytes : units;
  const TensorShape shape = heads_of(at, at.width, all_heads, rows), shape_dy = heads_of(at, at.output_width(), at.heads, rows);
  if (!device.hopper() || bytes > kMost || !tensor_map_fits(qkv, shape) || !tensor_map_fits(dqkv, shape) || !tensor_map_fits(dy, shape_dy)) return false;
  const int64_t heads = rows * at.heads;
  float* statistics = device.scratch_of<float>(heads * steps * kStatistics);
  Bf16* slopes = static_cast<Bf16*>(device.scratch(at_once * bytes, 1));
  const TensorShape shape_slopes{{padded, padded, at_once * shared_by, 1}, {1, padded, padded * padded, at_once * shared_by * padded * padded}};
  const TensorMap map = tensor_map(qkv, shape, kHopperRows), map_steps = tensor_map(qkv, shape, kStepRows), map_dy = tensor_map(dy, shape_dy, kStepRows), map_gradient = tensor_map(dqkv, shape, 64),
                  map_slopes = tensor_map(slopes, shape_slopes, 64);
  device.launch("attention_statistics", gather_statistics, grid_of(divide_up(heads * padded, kStatisticsWarps)), 32 * kStatisticsWarps, 0, dy, y, lse, statistics, at, heads);
  for (int64_t first = 0; first < units; first += at_once) {
    const HopperUnits part{first, units - first < at_once ? units - first : at_once};
    const auto tiles = static_cast<unsigned>(divide_up(at.length, kHopperRows));
    device.launch("key_gradient_hopper", key_gradient_hopper<D>, dim3(tiles, static_cast<unsigned>(part.units)), kHopperThreads, HopperKeys<D>::kBytes, map, map_steps, map_dy, map_gradient, map_slopes,
                  statistics, bad_keys, at, part);
    device.launch("query_gradient_hopper", query_gradient_hopper<D>, dim3(tiles, static_cast<unsigned>(part.units * shared_by)), kHopperThreads, HopperQueries<D>::kBytes, map_slopes, map_steps,
                  map_gradient, bad_queries, at, part);
  }
  return true;
}

}  // namespace
}  // namespace nichelm
