// The next token of each row, drawn from its logits. With q = softmax(logits / temperature), or at temperature 0 the most probable token alone:
//   of the top_k most probable tokens (all where that is 0 or more than there are; of equal ones the lower id first),
//   the fewest from the first on whose q sum to at least top_p of those tokens' sum (nucleus sampling, arXiv 1904.09751; always one),
//   the first with which their running sum exceeds uniform times their whole sum.
// Where nothing is to be cut off (top_k all, top_p 1), the running sum goes by id. A row with a NaN or an infinity (above) gives -1: no token can be drawn from it.
#pragma once
#include "runtime/op.h"

namespace nichelm {

struct Sample {
  In logits;          // (rows, vocabulary) f32
  In uniform;         // (rows)             f32, in [0, 1)
  Out ids;            // (rows)             i32
  float temperature;  // at least 0; 0: greedy, the rest does not matter
  int64_t top_k;      // 0: all
  float top_p;        // in (0, 1]

  static constexpr auto fields() {
    return nichelm::fields<Sample>("sample", {"logits", "uniform", "ids", "temperature", "top_k", "top_p"}, &Sample::logits, &Sample::uniform, &Sample::ids, &Sample::temperature, &Sample::top_k,
                                   &Sample::top_p);
  }
  void check() const;
};

}  // namespace nichelm
