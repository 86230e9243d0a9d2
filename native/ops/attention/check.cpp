#include <string>

#include "ops/attention/attention.h"

namespace nichelm {
namespace {

void need(bool holds, const char* op, const char* what) {
  if (!holds) throw Error(ErrorCode::argument, std::string(op) + ": " + what);
}

// What both directions ask of their operands.
void check_inputs(const char* op, const Tensor& qkv, const Tensor& starts, const Tensor& y, const Tensor& lse, int64_t heads, int64_t kv_heads) {
  need(qkv.type == Type::f32 || qkv.type == Type::bf16, op, "qkv must be f32 or bf16");
  need(heads > 0 && kv_heads > 0 && heads % kv_heads == 0, op, "kv_heads must be positive and divide heads");
  need(qkv.width() > 0 && heads <= qkv.width() && qkv.width() % (heads + 2 * kv_heads) == 0, op, "qkv's width must be heads + 2 kv_heads times the head width");
  need(starts.type == Type::i32 && starts.axes == 2, op, "starts must be i32 of shape (rows, length)");
  need(starts.size() == qkv.rows(), op, "starts must hold one element for each token of qkv");
  const int64_t width = qkv.width() / (heads + 2 * kv_heads) * heads;
  need(y.type == qkv.type, op, "y must be of qkv's type");
  need(y.width() == width && y.rows() == qkv.rows(), op, "y must have qkv's tokens, heads times the head width wide");
  need(lse.type == Type::f32 && lse.size() == qkv.rows() * heads, op, "lse must hold one f32 for each head of each token");
}

}  // namespace

void Attention::check() const { check_inputs("attention", qkv, starts, y, lse, heads, kv_heads); }

void AttentionGradient::check() const {
  check_inputs("attention_gradient", qkv, starts, y, lse, heads, kv_heads);
  need(dy.type == y.type && dy.size() == y.size() && dy.width() == y.width(), "attention_gradient", "dy must be like y");
  need(dqkv.type == qkv.type && dqkv.size() == qkv.size() && dqkv.width() == qkv.width(), "attention_gradient", "dqkv must be like qkv");
}

}  // namespace nichelm
