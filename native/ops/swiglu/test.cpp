// swiglu and its gradient against the double reference and finite differences: odd shapes, both types, every device.
#include "ops/swiglu/swiglu.h"
#include "test/devices.h"
#include "test/operand.h"

using namespace nichelm;
using namespace nichelm::test;

namespace {

// A plain loop in f32.
void plain(const std::vector<float>& x, const std::vector<float>& dy, int64_t rows, int64_t hidden, std::vector<float>& y, std::vector<float>& dx) {
  y.resize(dy.size()), dx.resize(x.size());
  for (int64_t r = 0; r < rows; ++r)
    for (int64_t i = 0; i < hidden; ++i) {
      const size_t g = static_cast<size_t>(r * 2 * hidden + i), u = g + static_cast<size_t>(hidden), o = static_cast<size_t>(r * hidden + i);
      const float s = 1 / (1 + std::exp(-x[g]));
      y[o] = x[g] * s * x[u];
      dx[g] = dy[o] * x[u] * s * (1 + x[g] * (1 - s));
      dx[u] = dy[o] * x[g] * s;
    }
}

}  // namespace

TEST(swiglu) {
  for (const auto& [rows, hidden] : {std::pair<int64_t, int64_t>{1, 1}, {3, 7}, {5, 64}, {67, 43}, {2, 1009}})
    for (Type type : {Type::f32, Type::bf16})
      for (float scale : {1.0f, 20.0f}) {
        Operand x(type, {rows, 2 * hidden}, normal(rows * 2 * hidden, 1, scale)), dy(type, {rows, hidden}, normal(rows * hidden, 2));
        std::vector<float> xv = x.values(), dyv = dy.values(), want(dyv.size()), want_dx(xv.size()), plain_y, plain_dx;
        Reference reference;
        run(reference, Swiglu{{f32(xv, {rows, 2 * hidden})}, {f32(want, {rows, hidden})}});
        run(reference, SwigluGradient{{f32(dyv, {rows, hidden})}, {f32(xv, {rows, 2 * hidden})}, {f32(want_dx, {rows, 2 * hidden})}});
        plain(xv, dyv, rows, hidden, plain_y, plain_dx);
        plain_y = as_type(plain_y, type), plain_dx = as_type(plain_dx, type);
        std::vector<float> first_y, first_dx;
        on_devices([&](Device& device, const std::string& on, bool is_first) {
          Operand y(type, {rows, hidden}), dx(type, {rows, 2 * hidden});
          run_op(device, Swiglu{{x.tensor()}, {y.tensor()}});
          run_op(device, SwigluGradient{{dy.tensor()}, {x.tensor()}, {dx.tensor()}});
          const std::string where = "swiglu " + on + ' ' + name_of(type) + ' ' + std::to_string(rows) + 'x' + std::to_string(hidden);
          EXPECT(within(error(y.values(), want), error(plain_y, want)), where + ": error of y " + std::to_string(error(y.values(), want)));
          EXPECT(within(error(dx.values(), want_dx), error(plain_dx, want_dx)), where + ": error of dx " + std::to_string(error(dx.values(), want_dx)));
          if (is_first) first_y = y.values(), first_dx = dx.values();
          EXPECT(same_bits(first_y, y.values()) && same_bits(first_dx, dx.values()), where + ": not the bits of one thread");
        });
      }
}

TEST(swiglu_gradient_is_the_slope) {
  const int64_t hidden = 5;
  std::vector<float> x = normal(2 * hidden, 3), dy = normal(hidden, 4), dx(x.size()), y(dy.size());
  Reference reference;
  run(reference, SwigluGradient{{f32(dy, {1, hidden})}, {f32(x, {1, 2 * hidden})}, {f32(dx, {1, 2 * hidden})}});
  for (size_t i = 0; i < x.size(); ++i) {
    double loss[2], at[2];
    for (int side : {0, 1}) {
      std::vector<float> moved = x;
      moved[i] += side ? 1e-2f : -1e-2f;
      at[side] = moved[i], loss[side] = 0;
      run(reference, Swiglu{{f32(moved, {1, 2 * hidden})}, {f32(y, {1, hidden})}});
      for (size_t j = 0; j < y.size(); ++j) loss[side] += double(y[j]) * dy[j];
    }
    EXPECT(std::abs((loss[1] - loss[0]) / (at[1] - at[0]) - dx[i]) < 2e-4, "swiglu_gradient of element " + std::to_string(i));
  }
}

TEST(swiglu_nan_and_in_place) {
  on_devices([&](Device& device, const std::string& on, bool) {
    const int64_t rows = 4, hidden = 37;
    std::vector<float> x = normal(rows * 2 * hidden, 5), dy = normal(rows * hidden, 6), y(dy.size()), dx(x.size());
    x[2 * 2 * 37 + 11] = NAN;
    run_op(device, Swiglu{{f32(x, {rows, 2 * hidden})}, {f32(y, {rows, hidden})}});
    int nans = 0;
    for (float v : y) nans += std::isnan(v);
    EXPECT(nans == 1 && std::isnan(y[2 * 37 + 11]), "swiglu: a NaN of the gate makes its output NaN and no other, " + on);
    run_op(device, SwigluGradient{{f32(dy, {rows, hidden})}, {f32(x, {rows, 2 * hidden})}, {f32(dx, {rows, 2 * hidden})}});
    run_op(device, SwigluGradient{{f32(dy, {rows, hidden})}, {f32(x, {rows, 2 * hidden})}, {f32(x, {rows, 2 * hidden})}});
    EXPECT(same_bits(x, dx), "swiglu_gradient: in place as apart, " + on);
  });
}

TEST(swiglu_refuses) {
  std::vector<float> x(12), y(6), z(4);
  const auto refused = [](const auto& op) {
    try { op.check(); } catch (const Error& e) { return e.code == ErrorCode::argument; }
    return false;
  };
  EXPECT(refused(Swiglu{{f32(x, {4, 3})}, {f32(y, {2, 3})}}), "swiglu: odd width");
  EXPECT(refused(Swiglu{{f32(x, {2, 6})}, {f32(z, {2, 2})}}), "swiglu: y's width");
  EXPECT(refused(SwigluGradient{{f32(z, {2, 2})}, {f32(x, {2, 6})}, {f32(x, {2, 6})}}), "swiglu_gradient: dy's width");
  EXPECT(refused(SwigluGradient{{f32(y, {2, 3})}, {f32(x, {2, 6})}, {f32(y, {2, 3})}}), "swiglu_gradient: dx's shape");
}
