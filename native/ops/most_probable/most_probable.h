// The most probable tokens of a softmax, and what is lost by keeping only these: how a teacher's distributions are stored.
// With q = softmax(logits / temperature):
//   ids: the k largest, descending, of equal ones the lower id first;   probabilities = q[ids];   rest = sum of the others' q
//   lost = KL(q || q with the rest's mass spread evenly over the others) = sum_others q log(q (vocabulary - k) / rest), nats; 0 where nothing is left
#pragma once
#include "runtime/op.h"

namespace nichelm {

struct MostProbable {
  In logits;          // (..., vocabulary)  f32
  Out ids;            // (..., k)           i32, k in [1, vocabulary]
  Out probabilities;  // (..., k)           f32
  Out rest;           // (tokens)           f32
  Out lost;           // (tokens)           f32
  float temperature;  // > 0

  static constexpr auto fields() {
    return nichelm::fields<MostProbable>("most_probable", {"logits", "ids", "probabilities", "rest", "lost", "temperature"}, &MostProbable::logits, &MostProbable::ids, &MostProbable::probabilities,
                                         &MostProbable::rest, &MostProbable::lost, &MostProbable::temperature);
  }
  void check() const;
};

}  // namespace nichelm
