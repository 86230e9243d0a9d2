// fill, cast, add, scale, gelu and its gradient against the double reference: odd sizes, both types, every device.
#include <limits>

#include "runtime/bf16.h"
#include "ops/elementwise/elementwise.h"
#include "test/devices.h"
#include "test/operand.h"

using namespace nichelm;
using namespace nichelm::test;

namespace {

const std::vector<int64_t> kSizes{1, 7, 64, 1021, 5003};

// Runs make(output) on every device and holds each result against want.
template <class Make> void against(const char* name, Type type, int64_t size, const std::vector<float>& want, const std::vector<float>& plain, const Make& make) {
  std::vector<float> first;
  on_devices([&](Device& device, const std::string& on, bool is_first) {
    Operand y(type, {size});
    run_op(device, make(y.tensor()));
    const std::string where = std::string(name) + ' ' + name_of(type) + ' ' + std::to_string(size) + " elements, " + on;
    // The rounding of the type at least: one element's plain error may be nothing by luck.
    const double plain_error = std::max(error(plain, want), type == Type::bf16 ? 0x1p-9 : 0x1p-24);
    EXPECT(within(error(y.values(), want), plain_error), where + ": error " + std::to_string(error(y.values(), want) / plain_error) + " times the plain loop's");
    if (is_first) first = y.values();
    EXPECT(same_bits(first, y.values()), where + ": not the bits of one thread");
  });
}

float plain_gelu(float x) { return x / 2 * (1 + std::tanh(0.79788456f * (x + 0.044715f * x * x * x))); }
float plain_slope(float x) {
  const float t = std::tanh(0.79788456f * (x + 0.044715f * x * x * x));
  return (1 + t) / 2 + x / 2 * (1 - t * t) * 0.79788456f * (1 + 3 * 0.044715f * x * x);
}

}  // namespace

TEST(elementwise_fill_and_cast) {
  for (int64_t size : kSizes)
    for (Type type : {Type::f32, Type::bf16}) {
      const std::vector<float> value = as_type(std::vector<float>(static_cast<size_t>(size), 0.1f), type);
      against("fill", type, size, value, value, [&](Tensor y) { return Fill{{y}, 0.1f}; });
      for (Type from : {Type::f32, Type::bf16}) {
        Operand x(from, {size}, normal(size, 1));
        const std::vector<float> want = as_type(x.values(), type);
        against("cast", type, size, want, want, [&](Tensor y) { return Cast{{x.tensor()}, {y}}; });
      }
    }
}

TEST(elementwise_cast_edges) {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  // Halfway between two bf16 values: to the even one; the largest f32 rounds to infinity; NaN stays NaN.
  const std::vector<float> x{0.0f, -0.0f, 1.00390625f, 1.01171875f, 3.4028235e38f, kInfinity, -kInfinity, NAN, -NAN, 1e-40f};
  on_devices([&](Device& device, const std::string& on, bool) {
    Operand from(Type::f32, {10}, x), to(Type::bf16, {10});
    run_op(device, Cast{{from.tensor()}, {to.tensor()}});
    EXPECT(same_bits(to.values(), {0.0f, -0.0f, 1.0f, 1.015625f, kInfinity, kInfinity, -kInfinity, NAN, NAN, rounded({1e-40f})[0]}), "cast edges, " + on);
  });
}

TEST(elementwise_add) {
  for (int64_t size : kSizes)
    for (Type type : {Type::f32, Type::bf16}) {
      Operand a(type, {size}, normal(size, 2)), b(type, {size}, normal(size, 3));
      std::vector<float> av = a.values(), bv = b.values(), want(av.size()), plain(av.size());
      Reference reference;
      run(reference, Add{{f32(av, {size})}, {f32(bv, {size})}, {f32(want, {size})}});
      for (size_t i = 0; i < plain.size(); ++i) plain[i] = av[i] + bv[i];
      against("add", type, size, want, as_type(plain, type), [&](Tensor y) { return Add{{a.tensor()}, {b.tensor()}, {y}}; });
    }
}

TEST(elementwise_scale) {
  for (int64_t size : kSizes)
    for (Type type : {Type::f32, Type::bf16})
      for (float factor : {2.5f, -0.1f, 0.0f}) {
        Operand x(type, {size}, normal(size, 9));
        std::vector<float> xv = x.values(), want(xv.size()), plain(xv.size());
        Reference reference;
        run(reference, Scale{{f32(xv, {size})}, {f32(want, {size})}, factor});
        for (size_t i = 0; i < plain.size(); ++i) plain[i] = factor * xv[i];
        against("scale", type, size, want, as_type(plain, type), [&](Tensor y) { return Scale{{x.tensor()}, {y}, factor}; });
      }
}

TEST(elementwise_gelu) {
  for (int64_t size : kSizes)
    for (Type type : {Type::f32, Type::bf16})
      for (float scale : {0.1f, 3.0f, 30.0f}) {
        if (size == 1 && scale > 1) continue;  // one element may lie where gelu's derivative crosses 0, and then no relative error holds
        Operand x(type, {size}, normal(size, 4, scale)), dy(type, {size}, normal(size, 5));
        std::vector<float> xv = x.values(), dyv = dy.values(), want(xv.size()), want_dx(xv.size()), plain(xv.size()), plain_dx(xv.size());
        Reference reference;
        run(reference, Gelu{{f32(xv, {size})}, {f32(want, {size})}});
        run(reference, GeluGradient{{f32(dyv, {size})}, {f32(xv, {size})}, {f32(want_dx, {size})}});
        for (size_t i = 0; i < xv.size(); ++i) plain[i] = plain_gelu(xv[i]), plain_dx[i] = dyv[i] * plain_slope(xv[i]);
        against("gelu", type, size, want, as_type(plain, type), [&](Tensor y) { return Gelu{{x.tensor()}, {y}}; });
        against("gelu_gradient", type, size, want_dx, as_type(plain_dx, type), [&](Tensor y) { return GeluGradient{{dy.tensor()}, {x.tensor()}, {y}}; });
      }
}

TEST(elementwise_gelu_gradient_is_the_slope) {
  const double step = 1e-2;
  for (float at : {-4.0f, -1.0f, -0.3f, 0.0f, 0.5f, 2.0f, 6.0f}) {
    std::vector<float> x{static_cast<float>(at + step), static_cast<float>(at - step)}, y(2), point{at}, one{1}, dx(1);
    Reference reference;
    run(reference, Gelu{{f32(x, {2})}, {f32(y, {2})}});
    run(reference, GeluGradient{{f32(one, {1})}, {f32(point, {1})}, {f32(dx, {1})}});
    EXPECT(std::abs((y[0] - y[1]) / (double(x[0]) - x[1]) - dx[0]) < 1e-4, "gelu_gradient at " + std::to_string(at));
  }
}

TEST(elementwise_nan_and_in_place) {
  on_devices([&](Device& device, const std::string& on, bool) {
    for (Type type : {Type::f32, Type::bf16}) {
      std::vector<float> x = normal(2000, 6);
      x[1234] = NAN;
      Operand a(type, {2000}, x), b(type, {2000}, x), apart(type, {2000});
      const auto is_nan_there_only = [](const std::vector<float>& y) {
        for (size_t i = 0; i < y.size(); ++i)
          if (std::isnan(y[i]) != (i == 1234)) return false;
        return true;
      };
      run_op(device, Gelu{{a.tensor()}, {apart.tensor()}});
      EXPECT(is_nan_there_only(apart.values()), "gelu: a NaN stays where it was, " + on);
      run_op(device, Gelu{{a.tensor()}, {a.tensor()}});
      EXPECT(same_bits(a.values(), apart.values()), "gelu: in place as apart, " + on);
      run_op(device, Scale{{a.tensor()}, {apart.tensor()}, 0});
      EXPECT(is_nan_there_only(apart.values()), "scale: a NaN times 0 stays NaN, " + on);
      run_op(device, Scale{{a.tensor()}, {apart.tensor()}, 3});
      Operand scaled(type, {2000}, a.values());
      run_op(device, Scale{{scaled.tensor()}, {scaled.tensor()}, 3});
      EXPECT(same_bits(scaled.values(), apart.values()), "scale: in place as apart, " + on);
      run_op(device, Add{{a.tensor()}, {b.tensor()}, {apart.tensor()}});
      run_op(device, Add{{a.tensor()}, {b.tensor()}, {b.tensor()}});
      EXPECT(is_nan_there_only(b.values()) && same_bits(b.values(), apart.values()), "add: in place as apart, a NaN stays, " + on);
    }
  });
}

TEST(elementwise_refuses) {
  std::vector<float> x(4), y(5);
  std::vector<int32_t> i(4);
  const auto refused = [](const auto& op) {
    try { op.check(); } catch (const Error& e) { return e.code == ErrorCode::argument; }
    return false;
  };
  EXPECT(refused(Fill{{i32(i, {4})}, 0}), "fill: i32");
  EXPECT(refused(Cast{{f32(x, {4})}, {f32(y, {5})}}), "cast: sizes");
  EXPECT(refused(Add{{f32(x, {4})}, {f32(y, {5})}, {f32(x, {4})}}), "add: sizes");
  EXPECT(refused(Scale{{f32(x, {4})}, {f32(y, {5})}, 1}), "scale: sizes");
  EXPECT(refused(Gelu{{f32(x, {4})}, {i32(i, {4})}}), "gelu: types");
  EXPECT(refused(GeluGradient{{f32(y, {5})}, {f32(x, {4})}, {f32(x, {4})}}), "gelu_gradient: sizes");
}
