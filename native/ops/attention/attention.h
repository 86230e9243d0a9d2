// Causal self-attention over packed rows (Vaswani et al. 2017; blocked with an online softmax as in FlashAttention, arXiv 2205.14135):
//   y[r,i,h] = sum_j p[r,h,i,j] v[r,j,g],   p = softmax_j(q[r,i,h] · k[r,j,g] / sqrt(d)) over starts[r,i] <= j <= i,   g = h / (heads / kv_heads)
//   lse[r,h,i] = log sum_j exp(q · k / sqrt(d))
// starts[r,i] is the index in the row of the first token of i's document; it never falls along a row.
#pragma once
#include "runtime/op.h"

namespace nichelm {

struct Attention {
  In qkv;      // (rows, length, (heads + 2 kv_heads) d)  f32 or bf16: a token's query heads, key heads, value heads
  In starts;   // (rows, length)                          i32, 0 <= starts[r,i] <= i
  Out y;       // (rows, length, heads d)                 as qkv
  Out lse;     // (rows, heads, length)                   f32, kept for the backward
  int64_t heads;
  int64_t kv_heads;  // divides heads

  static constexpr auto fields() {
    return nichelm::fields<Attention>("attention", {"qkv", "starts", "y", "lse", "heads", "kv_heads"}, &Attention::qkv, &Attention::starts, &Attention::y, &Attention::lse, &Attention::heads,
                                      &Attention::kv_heads);
  }
  int64_t head_width() const { return qkv.width() / (heads + 2 * kv_heads); }
  void check() const;
};

struct AttentionGradient {
  In dy;       // (rows, length, heads d)                 as qkv
  In qkv, starts, y, lse;
  Out dqkv;    // (rows, length, (heads + 2 kv_heads) d)  as qkv; deterministic
  int64_t heads;
  int64_t kv_heads;

  static constexpr auto fields() {
    return nichelm::fields<AttentionGradient>("attention_gradient", {"dy", "qkv", "starts", "y", "lse", "dqkv", "heads", "kv_heads"}, &AttentionGradient::dy, &AttentionGradient::qkv,
                                              &AttentionGradient::starts, &AttentionGradient::y, &AttentionGradient::lse, &AttentionGradient::dqkv, &AttentionGradient::heads,
                                              &AttentionGradient::kv_heads);
  }
  int64_t head_width() const { return qkv.width() / (heads + 2 * kv_heads); }
  void check() const;
};

}  // namespace nichelm
