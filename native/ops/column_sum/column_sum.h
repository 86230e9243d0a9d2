// sum[i] += sum_r x[r,i]: the gradient of a bias. Rows are summed in one order, whatever the number of threads.
#pragma once
#include "runtime/op.h"

namespace nichelm {

struct ColumnSum {
  In x;            // (..., width) f32 or bf16
  Accumulate sum;  // (width)      f32

  static constexpr auto fields() { return nichelm::fields<ColumnSum>("column_sum", {"x", "sum"}, &ColumnSum::x, &ColumnSum::sum); }
  void check() const;
};

}  // namespace nichelm
