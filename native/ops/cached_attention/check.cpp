#include "ops/cached_attention/cached_attention.h"

namespace nichelm {

void CachedAttention::check() const {
  require(qkv.type == Type::f32 || qkv.type == Type::bf16, "cached_attention: qkv must be f32 or bf16");
  require(heads > 0 && kv_heads > 0 && heads % kv_heads == 0, "cached_attention: kv_heads must be positive and divide heads");
  require(keys.type == qkv.type && keys.axes == 4 && keys.shape[1] == kv_heads && keys.width() > 0, "cached_attention: keys must have the type of qkv and the shape (slots, kv_heads, capacity, d)");
  require(values.type == keys.type && values.axes == 4 && values.shape == keys.shape, "cached_attention: values must be like keys");
  require(heads <= qkv.width() && qkv.width() / keys.width() == heads + 2 * kv_heads && qkv.width() % keys.width() == 0, "cached_attention: qkv's width must be heads + 2 kv_heads times that of keys");
  require(slots.type == Type::i32 && cached.type == Type::i32 && slots.size() == cached.size(), "cached_attention: slots and cached must hold one i32 for each row");
  require(rows() ? qkv.rows() % rows() == 0 : qkv.size() == 0, "cached_attention: qkv must have as many tokens for each row as for any other");
  require(y.type == qkv.type && y.rows() == qkv.rows() && y.width() == heads * keys.width(), "cached_attention: y must have the type and tokens of qkv, heads times the width of keys wide");
}

}  // namespace nichelm
