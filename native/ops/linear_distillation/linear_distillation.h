// linear_cross_entropy with a teacher (Hinton et al., arXiv 1503.02531), chunk by chunk over tokens like that op:
//   nll[n] = log sum_v exp logits[n,v] - logits[n, targets[n]],   logits[n] = x[n] · weightᵀ
//   loss = sum_n token_weights[n] ((1 - alpha) nll[n] + alpha temperature² KL(q[n] || p[n])),   p[n] = softmax(logits[n] / temperature)
// The teacher's distribution q comes in one of two forms:
// - teacher: logits, q[n] = softmax(teacher[n] / temperature);
// - ids and probabilities: some tokens (its most probable ones) and their probabilities at that temperature. What is missing to 1 is one more outcome on both
//   sides: KL = sum_j q_j log(q_j / p[ids_j]) + r log(r / s) with r = 1 - sum_j q_j and s = 1 - sum_j p[ids_j], 0 log 0 = 0. Where the probabilities sum to more
//   than 1 (by rounding), or ids are the whole vocabulary, they are divided by their sum and r is 0.
// A token of weight 0 costs nothing: its nll is 0, its target and its teacher are not read.
#pragma once
#include "runtime/op.h"

namespace nichelm {

struct LinearDistillation {
  In x;                     // (..., width)         f32 or bf16
  In weight;                // (vocabulary, width)  as x
  In targets;               // (tokens)             i32, in [0, vocabulary) where the weight is not 0
  In token_weights;         // (tokens)             f32
  InOptional teacher;       // (tokens, vocabulary) f32, finite
  InOptional ids;           // (tokens, k)          i32, in [0, vocabulary), those of a token distinct; k <= vocabulary
  InOptional probabilities;  // (tokens, k)          f32, >= 0
  Out nll;                  // (tokens)             f32, nats: the cross-entropy alone
  Out loss;                 // (1)                  f32: the mixture
  float alpha;              // in [0, 1]
  float temperature;        // > 0

  static constexpr auto fields() {
    return nichelm::fields<LinearDistillation>("linear_distillation", {"x", "weight", "targets", "token_weights", "teacher", "ids", "probabilities", "nll", "loss", "alpha", "temperature"},
                                               &LinearDistillation::x, &LinearDistillation::weight, &LinearDistillation::targets, &LinearDistillation::token_weights,
                                               &LinearDistillation::teacher, &LinearDistillation::ids, &LinearDistillation::probabilities, &LinearDistillation::nll,
                                               &LinearDistillation::loss, &LinearDistillation::alpha, &LinearDistillation::temperature);
  }
  void check() const;
};

// The same, and the gradient of loss, in one pass. With P the softmax of the logits:
//   dlogits[n,v] = token_weights[n] ((1 - alpha) (P[n,v] - [v = targets[n]]) + alpha temperature g[n,v]),
//   g = p - q where q is known; g[n,v] = p[n,v] (1 - r / s) for the tokens that are not in ids;
//   dx = dlogits · weight,   dweight += dlogitsᵀ · x.   Products are in the precision of x, accumulated in f32.
struct LinearDistillationGradient {
  In x, weight, targets, token_weights;
  InOptional teacher, ids, probabilities;
  Out nll;
  Out loss;
  Out dx;                      // (..., width) as x
  AccumulateOptional dweight;  // (vocabulary, width) f32; absent where the weight is frozen
  float alpha, temperature;

  static constexpr auto fields() {
    using Op = LinearDistillationGradient;
    return nichelm::fields<Op>("linear_distillation_gradient",
                               {"x", "weight", "targets", "token_weights", "teacher", "ids", "probabilities", "nll", "loss", "dx", "dweight", "alpha", "temperature"}, &Op::x, &Op::weight,
                               &Op::targets, &Op::token_weights, &Op::teacher, &Op::ids, &Op::probabilities, &Op::nll, &Op::loss, &Op::dx, &Op::dweight, &Op::alpha, &Op::temperature);
  }
  void check() const;
};

}  // namespace nichelm
