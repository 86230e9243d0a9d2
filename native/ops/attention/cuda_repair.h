// What tensor cores made of hidden pairs that are not finite, made right: where a warp said that one of its sums is not finite (cuda_layout.h), each token of
// these is done again by cuda_any.h, which looks at no hidden pair, and what was not finite is written anew. What was finite keeps its bits. Where all is
// finite a thread reads 4 bytes for 16 tokens; a token whose score is NaN, as where training has come apart, stays NaN without being done again.
#pragma once
#include "ops/attention/cuda_any.h"

namespace nichelm {
namespace {

// Groups of 16 tokens of a head; kernels write whole blocks of up to 128 tokens.
inline int groups_of(const Layout& at, int block) { return static_cast<int>(divide_up(at.length, block)) * (block / kGroup); }
inline int64_t most_groups(const Layout& at) { return divide_up(at.length, 128) * (128 / kGroup); }

__device__ __forceinline__ bool finite(Bf16 x) { return widen(x) * 0 == 0; }
// Whether one of d elements is not finite; for a whole warp.
__device__ __forceinline__ bool some_not_finite(const Bf16* x, int d) {
  bool some = false;
  for (int c = threadIdx.x % 32; c < d; c += 32) some = some || !finite(x[c]);
  return __ballot_sync(~0u, some) != 0;
}
__device__ __forceinline__ void put_if_bad(float x, Bf16& to) {
  if (!finite(to)) narrow(x, to);
}

// again(head of all rows, token) by a warp for every token of the groups that are bad.
template <class Again> __device__ __forceinline__ void for_each_bad(const int32_t* bad, int heads, int groups, int length, const Again& again) {
  const int first = static_cast<int>(blockIdx.x * kAnyWarps + threadIdx.x / 32) * 32, mine = first + static_cast<int>(threadIdx.x % 32);
  const unsigned found = __ballot_sync(~0u, mine < heads * groups && bad[mine]);
  for (int n = 0; n < 32; ++n) {
    if (!(found >> n & 1)) continue;
    const int head = (first + n) / groups, token = (first + n) % groups * kGroup;
    for (int t = token; t < token + kGroup && t < length; ++t) again(head, t);
  }
}

__global__ void __launch_bounds__(32 * kAnyWarps) repair_outputs(const Bf16* qkv, Bf16* y, const float* lse, const int32_t* bad, Layout at, int heads, int groups) {
  for_each_bad(bad, heads, groups, at.length, [&](int of, int i) {
    const int64_t row = of / at.heads;
    const int head = of % at.heads;
    Bf16* out = y + at.output(row, head) + i * at.output_width();
    const float log_total = lse[at.statistic(row, head) + i];
    if (log_total != log_total || !some_not_finite(out, at.d)) return;
    attend_one(qkv, at, row, head, i, [&](int c, float mean) { put_if_bad(mean, out[c]); });
  });
}

__device__ __forceinline__ float delta_of_one(const Bf16* dy, const Bf16* y, const Layout& at, int64_t row, int head, int i) {
  const int64_t from = at.output(row, head) + i * at.output_width();
  float sum = 0;
  for (int c = 0; c < at.d; ++c) sum += widen(dy[from + c]) * widen(y[from + c]);
  return sum;
}

__global__ void __launch_bounds__(32 * kAnyWarps) repair_query_gradient(const Bf16* dy, const Bf16* qkv, const Bf16* y, const float* lse, Bf16* dqkv, const int32_t* bad, Layout at, int heads, int groups) {
  for_each_bad(bad, heads, groups, at.length, [&](int of, int i) {
    const int64_t row = of / at.heads;
    const int head = of % at.heads;
    Bf16* out = dqkv + at.query(row, head) + i * at.width;
    const float log_total = lse[at.statistic(row, head) + i];
    if (log_total != log_total || !some_not_finite(out, at.d)) return;
    query_gradient_one(dy, qkv, lse, delta_of_one(dy, y, at, row, head, i), at, row, head, i, [&](int c, float slope) { put_if_bad(slope, out[c]); });
  });
}

__global__ void __launch_bounds__(32 * kAnyWarps) repair_key_gradient(const Bf16* dy, const Bf16* qkv, const Bf16* y, const float* lse, Bf16* dqkv, const int32_t* bad, Layout at, int heads, int groups) {
  for_each_bad(bad, heads, groups, at.length, [&](int of, int j) {
    const int64_t row = of / at.kv_heads;
    const int kv = of % at.kv_heads;
    Bf16 *dk = dqkv + at.key(row, kv) + j * at.width, *dv = dqkv + at.value(row, kv) + j * at.width;
    const float own = lse[at.statistic(row, kv * (at.heads / at.kv_heads)) + j];  // of the query beside the key, which sees it
    if (own != own || !(some_not_finite(dk, at.d) || some_not_finite(dv, at.d))) return;
    key_gradient_one(dy, qkv, lse, [&](int head, int i) { return delta_of_one(dy, y, at, row, head, i); }, at, row, kv, j,
                     [&](int c, float key, float value) { put_if_bad(key, dk[c]), put_if_bad(value, dv[c]); });
  });
}

inline dim3 repair_grid(int64_t heads, int64_t groups) { return grid_of(divide_up(heads * groups, 32 * kAnyWarps)); }

}  // namespace
}  // namespace nichelm
