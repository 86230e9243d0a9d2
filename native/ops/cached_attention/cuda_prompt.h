// Pieces of prompts by tensor cores: a block takes 64 new tokens of a head and goes through the keys of their sequence, the cached ones and their own, as attention
// does (attention/cuda_forward.h). Tiles begin at the sequence's first token, so a token's bits do not depend on how many others came before its piece.
#pragma once
#include "ops/attention/cuda_forward.h"
#include "ops/cached_attention/cuda_layout.h"

namespace nichelm {
namespace {

constexpr int kLeastPrompt = 16;  // tokens of a piece from which on tensor cores are worth it: a warp has as many

// Groups of 16 tokens of a head, in whole blocks.
inline __host__ __device__ int64_t prompt_groups(int64_t length) { return (length + kQueries - 1) / kQueries * (kQueries / kGroup); }

template <int D> __global__ void __launch_bounds__(kAttentionThreads) read_prompt(const Bf16* qkv, const Bf16* keys, const Bf16* values, Bf16* y, int32_t* bad, CacheLayout at) {
  const int heads = static_cast<int>(at.heads), d = static_cast<int>(at.d), head = static_cast<int>(blockIdx.y) % heads, kv = head / static_cast<int>(at.heads / at.kv_heads);
  const int64_t row = static_cast<int>(blockIdx.y) / heads, stride = at.heads * at.d;
  const int first_query = longest_first() * kQueries, placed = at.placed(row), length = static_cast<int>(at.length), query = first_query + threadIdx.x / 32 * 16 + threadIdx.x % 32 / 4;  // and query + 8
  Bf16* out = y + row * at.length * stride + head * at.d;
  // Tokens without a place: 0.
  for (int i = threadIdx.x; i < kQueries * d; i += kAttentionThreads) {
    const int token = first_query + i / d;
    if (token >= placed && token < length) narrow(0.0f, out[token * stride + i % d]);
  }
  Attended<D> own;
  if (first_query < placed) {
    const int before = static_cast<int>(at.cached[row]), last_query = first_query + kQueries < placed ? first_query + kQueries - 1 : placed - 1;
    const Window q{qkv + row * at.length * at.width() + head * at.d, at.width(), placed, d}, k{keys + at.cache(row, kv, 0), at.d, before + placed, d}, v{values + at.cache(row, kv, 0), at.d, before + placed, d};
    attend_tiles(own, q, k, v, first_query, 0, (before + last_query) / kKeys, 1 / sqrtf(static_cast<float>(d)), [&](int tile) { return (tile + 1) * kKeys > before + first_query; },
                 [&](int half, int key) { return key > before + query + half * 8; });
  }
  tell_bad(bad_of(bad, first_query), nan_or_zero(own.sums));
  float by[2];
  own.finish(by);
  store_rows(own.sums, out, stride, query, placed, d, by);
}

}  // namespace
}  // namespace nichelm
