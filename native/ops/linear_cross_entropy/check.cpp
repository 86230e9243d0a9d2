#include "ops/linear_cross_entropy/linear_cross_entropy.h"

namespace nichelm {
namespace {

template <class Op> void check_forward(const Op& op) {
  const int64_t tokens = op.x.rows();
  require(op.x.type == Type::f32 || op.x.type == Type::bf16, "linear_cross_entropy: x must be f32 or bf16");
  require(op.x.width() > 0 && tokens < int64_t{1} << 31, "linear_cross_entropy: x must have at least one column and fewer than 2^31 rows");
  require(op.weight.type == op.x.type, "linear_cross_entropy: weight must have the type of x");
  require(op.weight.axes == 2 && op.weight.rows() > 0 && op.weight.width() == op.x.width(), "linear_cross_entropy: weight must have the shape (vocabulary, width of x)");
  require(op.targets.type == Type::i32 && op.targets.size() == tokens, "linear_cross_entropy: targets must hold one i32 per row of x");
  require(op.token_weights.type == Type::f32 && op.token_weights.size() == tokens, "linear_cross_entropy: token_weights must hold one f32 per row of x");
  require(op.nll.type == Type::f32 && op.nll.size() == tokens, "linear_cross_entropy: nll must hold one f32 per row of x");
  require(op.loss.type == Type::f32 && op.loss.size() == 1, "linear_cross_entropy: loss must be one f32");
}

}  // namespace

void LinearCrossEntropy::check() const { check_forward(*this); }

void LinearCrossEntropyGradient::check() const {
  check_forward(*this);
  require(dx.type == x.type && dx.size() == x.size() && dx.width() == x.width(), "linear_cross_entropy_gradient: dx must have the type and shape of x");
  require(!dweight.present() || (dweight.type == Type::f32 && dweight.size() == weight.size() && dweight.width() == weight.width()), "linear_cross_entropy_gradient: dweight must be f32 of the shape of weight");
}

}  // namespace nichelm
