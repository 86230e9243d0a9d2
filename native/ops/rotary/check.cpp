#include "ops/rotary/rotary.h"

namespace nichelm {

void Rotary::check() const {
  require(x.type == Type::f32 || x.type == Type::bf16, "rotary: x must be f32 or bf16");
  require(y.type == x.type && y.size() == x.size() && y.width() == x.width(), "rotary: y must be like x");
  require(starts.type == Type::i32 && starts.axes == 2, "rotary: starts must be i32 of shape (rows, length)");
  require(starts.size() == x.rows(), "rotary: starts must hold one element for each token of x");
  require(heads > 0 && kv_heads > 0 && heads % kv_heads == 0, "rotary: kv_heads must be positive and divide heads");
  require(heads <= x.width() && x.width() % (heads + 2 * kv_heads) == 0, "rotary: x's width must be heads + 2 kv_heads times the head width");
  require(x.width() / (heads + 2 * kv_heads) % 2 == 0, "rotary: the head width must be even");
  require(theta > 0, "rotary: theta must be positive");
}

}  // namespace nichelm
