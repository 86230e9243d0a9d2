// The pass over rows of logits that the output layer's loss makes of each chunk (linear_cross_entropy), alone: for measuring it beside streaming.
#pragma once
#include "runtime/cpu.h"

namespace nichelm {

struct CrossEntropyRows {
  Tensor logits;        // (tokens, vocabulary) f32; f32 ones become the exponentials where dlogits lies elsewhere too
  Tensor dlogits;       // as many, f32 or bf16; may lie where f32 logits do
  const int32_t* targets;
  const float* weights; // (tokens)
  float* nll;           // (tokens)
};

// Rows over threads, as the loss op has them.
void cross_entropy_rows(Cpu& device, const CrossEntropyRows& rows);

}  // namespace nichelm
