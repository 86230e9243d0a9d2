#include "ops/sample/sample.h"

namespace nichelm {

void Sample::check() const {
  require(logits.type == Type::f32 && logits.width() > 0 && logits.width() < int64_t{1} << 31, "sample: logits must be f32 of at least one column and fewer than 2^31");
  require(uniform.type == Type::f32 && uniform.size() == logits.rows(), "sample: uniform must hold one f32 for each row of logits");
  require(ids.type == Type::i32 && ids.size() == logits.rows(), "sample: ids must hold one i32 for each row of logits");
  require(temperature >= 0 && temperature < 1e6f, "sample: temperature must be at least 0 and below a million");
  require(top_k >= 0, "sample: top_k must be at least 0");
  require(top_p > 0 && top_p <= 1, "sample: top_p must be above 0 and at most 1");
}

}  // namespace nichelm
