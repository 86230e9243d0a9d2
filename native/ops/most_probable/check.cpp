#include "ops/most_probable/most_probable.h"

namespace nichelm {

void MostProbable::check() const {
  const int64_t vocabulary = logits.width(), tokens = logits.rows();
  require(logits.type == Type::f32 && vocabulary > 0 && vocabulary < int64_t{1} << 31, "most_probable: logits must be f32 of at least one column and fewer than 2^31");
  require(ids.type == Type::i32 && ids.width() > 0 && ids.width() <= vocabulary && ids.rows() == tokens, "most_probable: ids must be i32 of the shape (rows of logits, k), k in [1, vocabulary]");
  require(probabilities.type == Type::f32 && probabilities.size() == ids.size() && probabilities.width() == ids.width(), "most_probable: probabilities must be f32 of the shape of ids");
  require(rest.type == Type::f32 && rest.size() == tokens && lost.type == Type::f32 && lost.size() == tokens, "most_probable: rest and lost must hold one f32 per row of logits");
  require(temperature > 0 && temperature < 1e6f, "most_probable: temperature must be positive and below a million");
}

}  // namespace nichelm
