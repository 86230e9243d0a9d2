// rotary_table against the double reference and against rotary at the same positions: rows that begin anywhere, both types, every CPU.
#include "ops/rotary_table/rotary_table.h"

#include <cmath>

#include "ops/rotary/rotary.h"
#include "test/devices.h"
#include "test/operand.h"

using namespace nichelm;
using namespace nichelm::test;

namespace {

struct Table { std::vector<float> cosine, sine; };
Table table(int64_t positions, int64_t half) {
  Table t;
  for (int64_t p = 0; p < positions; ++p)
    for (int64_t i = 0; i < half; ++i) {
      const double angle = double(p) * std::pow(10000.0, -double(i) / double(half));
      t.cosine.push_back(static_cast<float>(std::cos(angle))), t.sine.push_back(static_cast<float>(std::sin(angle)));
    }
  return t;
}

struct Shape {
  int64_t rows, length, heads, kv_heads, d;
  std::vector<int64_t> x() const { return {rows, length, (heads + 2 * kv_heads) * d}; }
  int64_t size() const { return rows * length * (heads + 2 * kv_heads) * d; }
};

}  // namespace

TEST(rotary_table) {
  constexpr int64_t kPositions = 90;
  for (const Shape& s : {Shape{1, 1, 1, 1, 2}, Shape{5, 1, 4, 2, 32}, Shape{2, 7, 3, 1, 6}, Shape{1, 65, 2, 2, 64}})
    for (Type type : {Type::f32, Type::bf16}) {
      Table t = table(kPositions, s.d / 2);
      const In cosine{f32(t.cosine, {kPositions, s.d / 2})}, sine{f32(t.sine, {kPositions, s.d / 2})};
      Operand x(type, s.x(), normal(s.size(), 1));
      std::vector<int32_t> starts;  // rows begin at different positions; the last token's is one behind the table, and that of one before it one in front
      for (int64_t r = 0; r < s.rows; ++r)
        for (int64_t i = 0; i < s.length; ++i) starts.push_back(static_cast<int32_t>(-11 * r));
      starts.back() = static_cast<int32_t>(s.length - 1 - kPositions);
      if (s.length > 2) starts[starts.size() - 3] = static_cast<int32_t>(s.length - 2);
      const In at{i32(starts, {s.rows, s.length})};
      std::vector<float> xv = x.values(), want(xv.size());
      Reference reference;
      run(reference, RotaryTable{{f32(xv, s.x())}, at, cosine, sine, {f32(want, s.x())}, s.heads, s.kv_heads});
      std::vector<float> first;
      on_devices([&](Device& device, const std::string& on, bool is_first) {
        Operand y(type, s.x());
        run_op(device, RotaryTable{{x.tensor()}, at, cosine, sine, {y.tensor()}, s.heads, s.kv_heads});
        const std::string where = "rotary_table " + on + ' ' + name_of(type);
        EXPECT(within(error(y.values(), want), type == Type::bf16 ? 0x1p-9 : 0x1p-24), where + ": error " + std::to_string(error(y.values(), want)));
        if (is_first) first = y.values();
        EXPECT(same_bits(first, y.values()), where + ": not the bits of one thread");
        Operand again = x;
        run_op(device, RotaryTable{{again.tensor()}, at, cosine, sine, {again.tensor()}, s.heads, s.kv_heads});
        EXPECT(same_bits(again.values(), y.values()), where + ": in place as apart");
      });
    }
}

TEST(rotary_table_is_rotary) {
  const Shape s{2, 40, 4, 2, 16};
  Table t = table(40, 8);
  std::vector<float> x = normal(s.size(), 2), y(x.size()), other(x.size());
  std::vector<int32_t> starts(80, 0);
  for (size_t i = 55; i < 80; ++i) starts[i] = 15;
  const In at{i32(starts, {2, 40})};
  on_devices([&](Device& device, const std::string& on, bool) {
    run_op(device, Rotary{{f32(x, s.x())}, at, {f32(y, s.x())}, 4, 2, 10000, false});
    run_op(device, RotaryTable{{f32(x, s.x())}, at, {f32(t.cosine, {40, 8})}, {f32(t.sine, {40, 8})}, {f32(other, s.x())}, 4, 2});
    EXPECT(error(other, y) < 1e-7, "rotary_table: as rotary, " + on + ": " + std::to_string(error(other, y)));
  });
}

TEST(rotary_table_refuses) {
  std::vector<float> x(2 * 3 * 12), angles(5 * 2);
  std::vector<int32_t> starts(6), few(5);
  const In angle{f32(angles, {5, 2})};
  const RotaryTable good{{f32(x, {2, 3, 12})}, {i32(starts, {2, 3})}, angle, angle, {f32(x, {2, 3, 12})}, 1, 1};
  good.check();
  RotaryTable bad = good;
  bad.starts = {i32(few, {1, 5})};
  EXPECT(refuses(bad, "starts must be"), "starts of another size");
  bad = good, bad.heads = 3;
  EXPECT(refuses(bad, "x's width"), "heads that do not fit");
  bad = good, bad.cosine = {f32(angles, {2, 5})};
  EXPECT(refuses(bad, "cosine must be"), "a table of another width");
  bad = good, bad.sine = {f32(angles, {4, 2})};
  EXPECT(refuses(bad, "sine must be"), "tables of different sizes");
}
