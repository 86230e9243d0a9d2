// What the output layer's losses ask of their operands, alike.
#pragma once
#include <string>

#include "runtime/op.h"

namespace nichelm {

// Throws an argument error that begins with the op's name.
struct Must {
  const char* op;
  void operator()(bool holds, const char* what) const {
    if (!holds) fail(ErrorCode::argument, (std::string(op) + ": " + what).c_str());
  }
};

template <class Op> void check_output_layer(const Op& op, const Must& must) {
  const int64_t tokens = op.x.rows();
  must(op.x.type == Type::f32 || op.x.type == Type::bf16, "x must be f32 or bf16");
  must(op.x.width() > 0 && tokens < int64_t{1} << 31, "x must have at least one column and fewer than 2^31 rows");
  must(op.weight.type == op.x.type, "weight must have the type of x");
  must(op.weight.axes == 2 && op.weight.rows() > 0 && op.weight.width() == op.x.width(), "weight must have the shape (vocabulary, width of x)");
  must(op.targets.type == Type::i32 && op.targets.size() == tokens, "targets must hold one i32 per row of x");
  must(op.token_weights.type == Type::f32 && op.token_weights.size() == tokens, "token_weights must hold one f32 per row of x");
  must(op.nll.type == Type::f32 && op.nll.size() == tokens, "nll must hold one f32 per row of x");
  must(op.loss.type == Type::f32 && op.loss.size() == 1, "loss must be one f32");
}

template <class Op> void check_output_gradients(const Op& op, const Must& must) {
  must(op.dx.type == op.x.type && op.dx.size() == op.x.size() && op.dx.width() == op.x.width(), "dx must have the type and shape of x");
  must(!op.dweight.present() || (op.dweight.type == Type::f32 && op.dweight.size() == op.weight.size() && op.dweight.width() == op.weight.width()), "dweight must be f32 of the shape of weight");
}

}  // namespace nichelm
