#include "ops/column_sum/column_sum.h"

namespace nichelm {

void ColumnSum::check() const {
  require(x.type == Type::f32 || x.type == Type::bf16, "column_sum: x must be f32 or bf16");
  require(sum.type == Type::f32, "column_sum: sum must be f32");
  require(sum.size() == x.width(), "column_sum: sum must hold one element for each column of x");
}

}  // namespace nichelm
