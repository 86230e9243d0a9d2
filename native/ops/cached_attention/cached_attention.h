// Causal self-attention of new tokens against the keys and values of the sequences that they continue: what generating a text token by token computes.
// Row r holds `length` new tokens of the sequence in slot s = slots[r], which has cached[r] tokens so far. Token t of it stands at p = cached[r] + t:
//   keys[s,g,p] = k[r,t,g],   values[s,g,p] = v[r,t,g],   then, of the sequence as it stands now and with g = h / (heads / kv_heads),
//   y[r,t,h] = sum_j p_j values[s,g,j],   p = softmax_j(q[r,t,h] · keys[s,g,j] / sqrt(d)) over 0 <= j <= p
// A row's slot belongs to no other row. A row of slot -1 is not computed, nor is a token that the cache has no room for: their y is 0.
// What a token computes depends on its sequence and on `length` alone, to the bit: not on the other rows, their number or the slot.
#pragma once
#include "runtime/op.h"

namespace nichelm {

struct CachedAttention {
  In qkv;        // (rows, length, (heads + 2 kv_heads) d)  f32 or bf16: a token's query heads, key heads, value heads
  In slots;      // (rows)                                  i32, -1 for none
  In cached;     // (rows)                                  i32, tokens that the slot holds already
  InOut keys;    // (slots, kv_heads, capacity, d)          as qkv
  InOut values;  // as keys
  Out y;         // (rows, length, heads d)                 as qkv
  int64_t heads;
  int64_t kv_heads;  // divides heads

  static constexpr auto fields() {
    return nichelm::fields<CachedAttention>("cached_attention", {"qkv", "slots", "cached", "keys", "values", "y", "heads", "kv_heads"}, &CachedAttention::qkv, &CachedAttention::slots,
                                            &CachedAttention::cached, &CachedAttention::keys, &CachedAttention::values, &CachedAttention::y, &CachedAttention::heads, &CachedAttention::kv_heads);
  }
  int64_t head_width() const { return keys.width(); }
  int64_t capacity() const { return keys.shape[2]; }
  int64_t rows() const { return slots.size(); }
  int64_t length() const { return rows() ? qkv.rows() / rows() : 0; }
  void check() const;
};

}  // namespace nichelm
