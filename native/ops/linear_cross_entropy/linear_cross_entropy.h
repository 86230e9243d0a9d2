// The output layer and its loss, chunk by chunk over tokens, so that the logits of a whole batch never exist:
//   logits[n] = x[n] · weightᵀ,   nll[n] = log sum_v exp logits[n,v] - logits[n, targets[n]],   loss = sum_n token_weights[n] nll[n]
// token_weights carries what a token counts: 1 / (valid tokens of the whole step) for a mean over micro-batches, 0 for none. A token of
// weight 0 costs nothing: its nll is 0 and its target is not read.
#pragma once
#include "runtime/op.h"

namespace nichelm {

struct LinearCrossEntropy {
  In x;              // (..., width)         f32 or bf16
  In weight;         // (vocabulary, width)  as x
  In targets;        // (tokens)             i32, in [0, vocabulary) where the weight is not 0
  In token_weights;  // (tokens)             f32
  Out nll;           // (tokens)             f32, nats
  Out loss;          // (1)                  f32

  static constexpr auto fields() {
    return nichelm::fields<LinearCrossEntropy>("linear_cross_entropy", {"x", "weight", "targets", "token_weights", "nll", "loss"}, &LinearCrossEntropy::x, &LinearCrossEntropy::weight,
                                               &LinearCrossEntropy::targets, &LinearCrossEntropy::token_weights, &LinearCrossEntropy::nll, &LinearCrossEntropy::loss);
  }
  void check() const;
};

// The same, and the gradient of loss, in one pass: with p the softmax of the logits, dlogits[n,v] = token_weights[n] (p[n,v] - [v = targets[n]]),
//   dx = dlogits · weight,   dweight += dlogitsᵀ · x.   Products are in the precision of x, accumulated in f32.
struct LinearCrossEntropyGradient {
  In x, weight, targets, token_weights;
  Out nll;
  Out loss;
  Out dx;                      // (..., width) as x
  AccumulateOptional dweight;  // (vocabulary, width) f32; absent where the weight is frozen

  static constexpr auto fields() {
    return nichelm::fields<LinearCrossEntropyGradient>("linear_cross_entropy_gradient", {"x", "weight", "targets", "token_weights", "nll", "loss", "dx", "dweight"},
                                                       &LinearCrossEntropyGradient::x, &LinearCrossEntropyGradient::weight, &LinearCrossEntropyGradient::targets,
                                                       &LinearCrossEntropyGradient::token_weights, &LinearCrossEntropyGradient::nll, &LinearCrossEntropyGradient::loss,
                                                       &LinearCrossEntropyGradient::dx, &LinearCrossEntropyGradient::dweight);
  }
  void check() const;
};

}  // namespace nichelm
