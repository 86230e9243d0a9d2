// Token embedding, with learned positions where there is a table for them:
//   y[r,t] = token_table[tokens[r,t]] + position_table[t - starts[r,t]]
// The position is the token's index in its document, so that a packed document sees what it would see alone.
#pragma once
#include "runtime/op.h"

namespace nichelm {

struct Embedding {
  In tokens;                  // (rows, length)      i32, in [0, vocabulary); others are clamped: the host checks them
  In starts;                  // (rows, length)      i32
  In token_table;             // (vocabulary, width) f32 or bf16
  InOptional position_table;  // (positions, width)  as token_table; positions >= length
  Out y;                      // (rows, length, width) as token_table

  static constexpr auto fields() {
    return nichelm::fields<Embedding>("embedding", {"tokens", "starts", "token_table", "position_table", "y"}, &Embedding::tokens, &Embedding::starts, &Embedding::token_table,
                                      &Embedding::position_table, &Embedding::y);
  }
  void check() const;
};

// dtoken_table[v] += sum of dy over the places where v stands, in their order; likewise dposition_table. A frozen table has no gradient.
struct EmbeddingGradient {
  In dy;                               // (rows, length, width) f32 or bf16
  In tokens, starts;
  AccumulateOptional dtoken_table;     // (vocabulary, width)   f32
  AccumulateOptional dposition_table;  // (positions, width)    f32

  static constexpr auto fields() {
    return nichelm::fields<EmbeddingGradient>("embedding_gradient", {"dy", "tokens", "starts", "dtoken_table", "dposition_table"}, &EmbeddingGradient::dy, &EmbeddingGradient::tokens,
                                              &EmbeddingGradient::starts, &EmbeddingGradient::dtoken_table, &EmbeddingGradient::dposition_table);
  }
  void check() const;
};

}  // namespace nichelm
