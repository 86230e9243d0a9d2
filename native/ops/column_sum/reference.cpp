// The oracle: the formula of column_sum.h in double. f32 operands only.
#include "ops/column_sum/column_sum.h"

namespace nichelm {

template <> void run(Reference&, const ColumnSum& op) {
  const int64_t width = op.x.width();
  for (int64_t i = 0; i < width; ++i) {
    double sum = op.sum.as<float>()[i];
    for (int64_t r = 0; r < op.x.rows(); ++r) sum += op.x.as<float>()[r * width + i];
    op.sum.as<float>()[i] = static_cast<float>(sum);
  }
}

}  // namespace nichelm
