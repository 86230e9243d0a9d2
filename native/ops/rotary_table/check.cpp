#include "ops/rotary_table/rotary_table.h"

namespace nichelm {

void RotaryTable::check() const {
  require(x.type == Type::f32 || x.type == Type::bf16, "rotary_table: x must be f32 or bf16");
  require(y.type == x.type && y.size() == x.size() && y.width() == x.width(), "rotary_table: y must be like x");
  require(starts.type == Type::i32 && starts.axes == 2 && starts.size() == x.rows(), "rotary_table: starts must be i32 of shape (rows, length), one for each token of x");
  require(heads > 0 && kv_heads > 0 && heads % kv_heads == 0, "rotary_table: kv_heads must be positive and divide heads");
  require(heads <= x.width() && x.width() % (heads + 2 * kv_heads) == 0 && x.width() / (heads + 2 * kv_heads) % 2 == 0, "rotary_table: x's width must be heads + 2 kv_heads times an even head width");
  require(cosine.type == Type::f32 && cosine.axes == 2 && cosine.rows() > 0 && cosine.width() == x.width() / (heads + 2 * kv_heads) / 2, "rotary_table: cosine must be f32 of shape (positions, half the head width)");
  require(sine.type == Type::f32 && sine.size() == cosine.size() && sine.width() == cosine.width(), "rotary_table: sine must be like cosine");
}

}  // namespace nichelm
