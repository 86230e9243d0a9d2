// rotary against the double reference, its own inverse and finite differences: odd shapes, both types, every device.
#include "ops/rotary/rotary.h"
#include "test/devices.h"
#include "test/operand.h"

using namespace nichelm;
using namespace nichelm::test;

namespace {

struct Shape {
  int64_t rows, length, heads, kv_heads, d;
  std::vector<int64_t> x() const { return {rows, length, (heads + 2 * kv_heads) * d}; }
  int64_t size() const { return rows * length * (heads + 2 * kv_heads) * d; }
};

// Documents of `document` tokens in a row; 0: one document a row.
std::vector<int32_t> starts_of(const Shape& s, int64_t document) {
  std::vector<int32_t> starts;
  for (int64_t r = 0; r < s.rows; ++r)
    for (int64_t t = 0; t < s.length; ++t) starts.push_back(static_cast<int32_t>(document ? t / document * document : 0));
  return starts;
}

// A plain loop in f32, but for the angle, whose error no kernel need have.
std::vector<float> plain(const Shape& s, const std::vector<float>& x, const std::vector<int32_t>& starts, float theta) {
  std::vector<float> y = x;
  for (int64_t token = 0; token < s.rows * s.length; ++token)
    for (int64_t h = 0; h < s.heads + s.kv_heads; ++h)
      for (int64_t i = 0; i < s.d / 2; ++i) {
        const double angle = double(token % s.length - starts[static_cast<size_t>(token)]) * std::pow(double(theta), -2.0 * double(i) / double(s.d));
        const float c = static_cast<float>(std::cos(angle)), n = static_cast<float>(std::sin(angle));
        const size_t a = static_cast<size_t>((token * (s.heads + 2 * s.kv_heads) + h) * s.d + i), b = a + static_cast<size_t>(s.d / 2);
        y[a] = x[a] * c - x[b] * n, y[b] = x[b] * c + x[a] * n;
      }
  return y;
}

}  // namespace

TEST(rotary) {
  for (const Shape& s : {Shape{1, 1, 1, 1, 2}, Shape{2, 7, 3, 1, 6}, Shape{3, 65, 4, 2, 32}, Shape{1, 1031, 2, 2, 10}, Shape{2, 130, 4, 4, 64}})
    for (int64_t document : {0, 1, 50})
      for (Type type : {Type::f32, Type::bf16}) {
        const float theta = 10000;
        Operand x(type, s.x(), normal(s.size(), 1));
        std::vector<int32_t> starts = starts_of(s, document);
        const Tensor starts_tensor = i32(starts, {s.rows, s.length});
        std::vector<float> xv = x.values(), want(xv.size());
        Reference reference;
        run(reference, Rotary{{f32(xv, s.x())}, {starts_tensor}, {f32(want, s.x())}, s.heads, s.kv_heads, theta, false});
        const double plain_error = error(as_type(plain(s, xv, starts, theta), type), want);
        std::vector<float> first;
        on_devices([&](Device& device, const std::string& on, bool is_first) {
          Operand y(type, s.x()), back(type, s.x());
          run_op(device, Rotary{{x.tensor()}, {starts_tensor}, {y.tensor()}, s.heads, s.kv_heads, theta, false});
          const std::string where = "rotary " + on + ' ' + name_of(type) + " length " + std::to_string(s.length) + " documents of " + std::to_string(document);
          EXPECT(within(error(y.values(), want), plain_error), where + ": error " + std::to_string(error(y.values(), want)));
          if (is_first) first = y.values();
          EXPECT(same_bits(first, y.values()), where + ": not the bits of one thread");
          run_op(device, Rotary{{y.tensor()}, {starts_tensor}, {back.tensor()}, s.heads, s.kv_heads, theta, true});
          EXPECT(error(back.values(), xv) < (type == Type::bf16 ? 4e-3 : 2e-7), where + ": the inverse gives x back");
          run_op(device, Rotary{{y.tensor()}, {starts_tensor}, {y.tensor()}, s.heads, s.kv_heads, theta, true});
          EXPECT(same_bits(back.values(), y.values()), where + ": in place as apart");
        });
      }
}

TEST(rotary_packed_document_is_as_alone) {
  const Shape both{1, 30, 2, 1, 8}, alone{1, 19, 2, 1, 8};
  std::vector<float> x = normal(both.size(), 2), second(x.end() - alone.size(), x.end()), y(x.size()), y_alone(second.size());
  std::vector<int32_t> starts(30, 0), zero(19, 0);
  for (size_t t = 11; t < 30; ++t) starts[t] = 11;
  on_devices([&](Device& device, const std::string& on, bool) {
    run_op(device, Rotary{{f32(x, both.x())}, {i32(starts, {1, 30})}, {f32(y, both.x())}, 2, 1, 500000, false});
    run_op(device, Rotary{{f32(second, alone.x())}, {i32(zero, {1, 19})}, {f32(y_alone, alone.x())}, 2, 1, 500000, false});
    EXPECT(same_bits(y_alone, std::vector<float>(y.end() - alone.size(), y.end())), "rotary: a document behind another is turned as alone, " + on);
  });
}

TEST(rotary_holds_starts_to_their_bounds) {
  const Shape s{1, 4, 1, 1, 2};
  std::vector<float> x = normal(s.size(), 5), y(x.size()), want(x.size());
  std::vector<int32_t> wild{-9, -1000000, 1000000, 2}, held{0, 0, 2, 2};
  on_devices([&](Device& device, const std::string& on, bool) {
    run_op(device, Rotary{{f32(x, s.x())}, {i32(wild, {1, 4})}, {f32(y, s.x())}, 1, 1, 100, false});
    run_op(device, Rotary{{f32(x, s.x())}, {i32(held, {1, 4})}, {f32(want, s.x())}, 1, 1, 100, false});
    EXPECT(same_bits(y, want), "rotary: starts out of bounds are as those held to them, " + on);
  });
}

TEST(rotary_inverse_is_the_gradient) {
  const Shape s{1, 5, 1, 1, 6};
  std::vector<float> x = normal(s.size(), 3), dy = normal(s.size(), 4), dx(x.size()), y(x.size());
  std::vector<int32_t> starts(5, 0);
  Reference reference;
  run(reference, Rotary{{f32(dy, s.x())}, {i32(starts, {1, 5})}, {f32(dx, s.x())}, 1, 1, 100, true});
  for (size_t i = 0; i < x.size(); ++i) {
    double loss[2], at[2];
    for (int side : {0, 1}) {
      std::vector<float> moved = x;
      moved[i] += side ? 0.1f : -0.1f;
      at[side] = moved[i], loss[side] = 0;
      run(reference, Rotary{{f32(moved, s.x())}, {i32(starts, {1, 5})}, {f32(y, s.x())}, 1, 1, 100, false});
      for (size_t j = 0; j < y.size(); ++j) loss[side] += double(y[j]) * dy[j];
    }
    EXPECT(std::abs((loss[1] - loss[0]) / (at[1] - at[0]) - dx[i]) < 2e-5, "gradient of rotary, element " + std::to_string(i));
  }
}

TEST(rotary_refuses) {
  std::vector<float> x(2 * 3 * 12);
  std::vector<int32_t> starts(6), few(5);
  const auto refused = [](const Rotary& op) {
    try { op.check(); } catch (const Error& e) { return e.code == ErrorCode::argument; }
    return false;
  };
  const In in{f32(x, {2, 3, 12})}, at{i32(starts, {2, 3})};
  const Out out{f32(x, {2, 3, 12})};
  EXPECT(!refused(Rotary{in, at, out, 1, 1, 10, false}), "rotary: a sound call");
  EXPECT(refused(Rotary{in, at, out, 3, 2, 10, false}), "rotary: heads no multiple of kv_heads");
  EXPECT(refused(Rotary{in, at, out, 3, 1, 10, false}), "rotary: width no multiple of the heads");
  EXPECT(refused(Rotary{in, at, out, 2, 1, 10, false}), "rotary: odd head width");
  EXPECT(refused(Rotary{in, {i32(few, {1, 5})}, out, 1, 1, 10, false}), "rotary: starts of another size");
  EXPECT(refused(Rotary{in, at, out, 1, 1, 0, false}), "rotary: theta");
}
