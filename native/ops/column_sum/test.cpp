// column_sum against the double reference: odd shapes, both types, every device.
#include "ops/column_sum/column_sum.h"
#include "test/devices.h"
#include "test/operand.h"

using namespace nichelm;
using namespace nichelm::test;

TEST(column_sum) {
  for (auto [rows, width] : {std::pair<int64_t, int64_t>{1, 1}, {1, 17}, {3, 7}, {131, 1}, {128, 64}, {1021, 13}, {2050, 129}})
    for (Type type : {Type::f32, Type::bf16}) {
      Operand x(type, {rows, width}, normal(rows * width, 1));
      const std::vector<float> before = normal(width, 2, 10);
      std::vector<float> xv = x.values(), want = before, plain = before;
      Reference reference;
      run(reference, ColumnSum{{f32(xv, {rows, width})}, {f32(want, {width})}});
      for (int64_t r = 0; r < rows; ++r)
        for (int64_t i = 0; i < width; ++i) plain[static_cast<size_t>(i)] += xv[static_cast<size_t>(r * width + i)];
      std::vector<float> first;
      on_devices([&](Device& device, const std::string& on, bool is_first) {
        std::vector<float> sum = before;
        run_op(device, ColumnSum{{x.tensor()}, {f32(sum, {width})}});
        const std::string where = "column_sum " + on + ' ' + name_of(type) + ' ' + std::to_string(rows) + 'x' + std::to_string(width);
        EXPECT(within(error(sum, want), error(plain, want)), where + ": error " + std::to_string(error(sum, want)));
        if (is_first) first = sum;
        EXPECT(same_bits(sum, first), where + ": not the bits of one thread");
      });
    }
}

TEST(column_sum_nan_stays_in_its_column) {
  on_devices([&](Device& device, const std::string& on, bool) {
    std::vector<float> x(300 * 5, 1.0f), sum(5, 0.0f);
    x[257 * 5 + 3] = NAN;
    run_op(device, ColumnSum{{f32(x, {300, 5})}, {f32(sum, {5})}});
    EXPECT(same_bits(sum, {300, 300, 300, NAN, 300}), "column_sum: a NaN of one column, " + on);
  });
}

TEST(column_sum_refuses) {
  std::vector<float> x(6), sum(2);
  bool refused = false;
  try { ColumnSum{{f32(x, {2, 3})}, {f32(sum, {2})}}.check(); } catch (const Error& e) { refused = e.code == ErrorCode::argument; }
  EXPECT(refused, "column_sum: sum of another width");
}
