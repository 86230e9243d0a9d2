// CUDA kernels: the new keys and values go to the cache. Then single tokens go by parts of their cache (cuda_decode.h), pieces of prompts in bf16 by tensor cores
// (cuda_prompt.h). For other widths, and for what tensor cores spoiled by hidden pairs, there is a block a token and head, whose warps share out its keys, 32 at a time,
// each with a softmax of its own; at the end the warps' sums are added in their order.
#include "ops/cached_attention/cached_attention.h"

#include "ops/cached_attention/cuda_decode.h"
#include "ops/cached_attention/cuda_prompt.h"

namespace nichelm {
namespace {

constexpr int kThreads = 256, kWarps = kThreads / 32;

// A block a token.
template <class T> __global__ void __launch_bounds__(kThreads) store_new(const T* qkv, T* keys, T* values, CacheLayout at) {
  const int64_t row = blockIdx.x / at.length, t = blockIdx.x % at.length, place = at.place(row, t);
  if (place < 0) return;
  const T* token = qkv + blockIdx.x * at.width() + at.heads * at.d;
  for (int64_t i = threadIdx.x; i < at.kv_heads * at.d; i += kThreads) {
    const int64_t to = at.cache(row, i / at.d, place) + i % at.d;
    keys[to] = token[i], values[to] = token[at.kv_heads * at.d + i];
  }
}

// Shared memory: the query; of each warp the weights of 32 keys, its sums, its largest score and the sum of its weights.
inline __host__ __device__ int64_t decode_floats(int64_t d) { return d + kWarps * (32 + d + 2); }

// bad: where tensor cores have been there, the groups of 16 tokens of a head in which a sum is not finite: of these, what is not finite is done again.
template <class T> __global__ void __launch_bounds__(kThreads) attend_cached(const T* qkv, const T* keys, const T* values, T* y, const int32_t* bad, CacheLayout at) {
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  const int64_t row = blockIdx.x / at.length, t = blockIdx.x % at.length, head = blockIdx.y, g = head / (at.heads / at.kv_heads), place = at.place(row, t), d = at.d;
  T* out = y + (blockIdx.x * at.heads + head) * d;
  if (bad && !bad[(row * at.heads + head) * prompt_groups(at.length) + t / kGroup]) return;
  if (place < 0) {
    for (int64_t c = threadIdx.x; c < d; c += kThreads) narrow(0.0f, out[c]);
    return;
  }
  float *q = shared_memory<float>(), *weights = q + d + warp * (32 + d), *sums = weights + 32, *tops = q + d + kWarps * (32 + d), *totals = tops + kWarps;
  const float scale = 1 / sqrtf(static_cast<float>(d));
  for (int64_t c = threadIdx.x; c < d; c += kThreads) q[c] = widen(qkv[blockIdx.x * at.width() + head * d + c]) * scale;
  for (int64_t c = lane; c < d; c += 32) sums[c] = 0;
  __syncthreads();
  const T *k = keys + at.cache(row, g, 0), *v = values + at.cache(row, g, 0);
  float top = -INFINITY, total = 0;
  for (int64_t first = warp * 32; first <= place; first += 32 * kWarps) {
    const int64_t j = first + lane;
    float s = -INFINITY;
    if (j <= place) {
      s = 0;
      for (int64_t c = 0; c < d; ++c) s += q[c] * widen(k[j * d + c]);
    }
    const float above = fmaxf(top, warp_max(s)), base = above == -INFINITY ? 0 : above, p = expf(s - base), shrink = expf(top - base);
    total = total * shrink + warp_sum(p);
    top = above;
    weights[lane] = p;
    __syncwarp();
    const int count = static_cast<int>(place - first + 1 < 32 ? place - first + 1 : 32);
    for (int64_t c = lane; c < d; c += 32) {
      float sum = sums[c] * shrink;
      for (int n = 0; n < count; ++n) sum += weights[n] * widen(v[(first + n) * d + c]);
      sums[c] = sum;
    }
    __syncwarp();
  }
  if (lane == 0) tops[warp] = top, totals[warp] = total;
  __syncthreads();
  float most = tops[0];
  for (int w = 1; w < kWarps; ++w) most = fmaxf(most, tops[w]);
  const float base = most == -INFINITY ? 0 : most;
  for (int64_t c = threadIdx.x; c < d; c += kThreads) {
    float sum = 0, all = 0;
    for (int w = 0; w < kWarps; ++w) {
      if (w * 32 > place) break;  // a warp without keys
      const float share = expf(tops[w] - base);
      sum += share * q[d + w * (32 + d) + 32 + c], all += share * totals[w];
    }
    if (!bad || !(widen(out[c]) * 0 == 0)) narrow(sum / all, out[c]);
  }
}

template <class T> void attend_any(Cuda& device, const CachedAttention& op, const CacheLayout& at, const int32_t* bad) {
  const dim3 grid(static_cast<unsigned>(at.rows * at.length), static_cast<unsigned>(at.heads));
  device.launch("cached_attention", attend_cached<T>, grid, kThreads, static_cast<size_t>(decode_floats(at.d)) * sizeof(float), op.qkv.as<const T>(), op.keys.as<const T>(), op.values.as<const T>(), op.y.as<T>(), bad, at);
}

template <int D> void attend_prompt(Cuda& device, const CachedAttention& op, const CacheLayout& at) {
  int32_t* bad = device.scratch_of<int32_t>(at.rows * at.heads * prompt_groups(at.length));
  const dim3 grid(static_cast<unsigned>(divide_up(at.length, kQueries)), static_cast<unsigned>(at.rows * at.heads));
  device.launch("cached_attention_prompt", read_prompt<D>, grid, kAttentionThreads, kForwardBytes<D>, op.qkv.as<const Bf16>(), op.keys.as<const Bf16>(), op.values.as<const Bf16>(), op.y.as<Bf16>(), bad, at);
  attend_any<Bf16>(device, op, at, bad);
}

// Whether the width allows it.
template <class T> bool attend_parts(Cuda& device, const CachedAttention& op, const CacheLayout& at) {
  return with_lanes<T>(at.d, [&](auto lanes) {
    const int64_t count = parts_of(at.capacity), tokens = at.rows * at.length;
    const Parts parts{device.scratch_of<float>(tokens * at.heads * count * (at.d + 2)), count};
    const auto heads = static_cast<unsigned>(at.heads);
    device.launch("cached_attention_parts", attend_part<T, lanes>, dim3(static_cast<unsigned>(tokens), heads, static_cast<unsigned>(count)), kPartThreads, static_cast<size_t>(part_floats(at.d)) * sizeof(float),
                  op.qkv.as<const T>(), op.keys.as<const T>(), op.values.as<const T>(), parts, at);
    device.launch("cached_attention_sums", add_attended<T>, dim3(static_cast<unsigned>(tokens), heads), kPartThreads, 0, parts, op.y.as<T>(), at);
  });
}

template <class T> void attend(Cuda& device, const CachedAttention& op) {
  const CacheLayout at{op.rows(), op.length(), op.heads, op.kv_heads, op.head_width(), op.keys.shape[0], op.capacity(), op.slots.as<const int32_t>(), op.cached.as<const int32_t>()};
  device.launch("store_new", store_new<T>, grid_of(at.rows * at.length), kThreads, 0, op.qkv.as<const T>(), op.keys.as<T>(), op.values.as<T>(), at);
  // By what a row's bits may depend on: its tokens, not the number of rows.
  const bool few = at.length < kLeastPrompt;
  if (few && attend_parts<T>(device, op, at)) return;
  if (few || op.qkv.type != Type::bf16 || at.d % 8 != 0 || at.d > 128) attend_any<T>(device, op, at, nullptr);
  else at.d <= 64 ? attend_prompt<64>(device, op, at) : attend_prompt<128>(device, op, at);
}

}  // namespace

template <> void run(Cuda& device, const CachedAttention& op) { op.qkv.type == Type::bf16 ? attend<Bf16>(device, op) : attend<float>(device, op); }

NICHELM_CUDA_KERNELS(CachedAttention)

}  // namespace nichelm
