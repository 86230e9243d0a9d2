// layer_norm and its gradient: both types against the double reference, finite differences, threads, in place, NaN.
#include "ops/layer_norm/layer_norm.h"

#include "test/devices.h"
#include "test/gradient.h"
#include "test/operand.h"

using namespace nichelm;
using namespace nichelm::test;

namespace {

constexpr float kEpsilon = 1e-5f;

struct Shape { int64_t rows, width; };
const Shape kShapes[] = {{1, 1}, {1, 7}, {3, 16}, {5, 31}, {33, 67}, {130, 128}, {4099, 24}, {257, 769}, {18, 12301}};

std::vector<float> plus(std::vector<float> x, float c) {
  for (float& v : x) v += c;
  return x;
}

struct Forward { std::vector<float> y, mean, scale; };

Forward poisoned(Shape s) { return {std::vector<float>(static_cast<size_t>(s.rows * s.width), NAN), std::vector<float>(static_cast<size_t>(s.rows), NAN), std::vector<float>(static_cast<size_t>(s.rows), NAN)}; }

Forward oracle(Shape s, std::vector<float>& x, std::vector<float>& gain, std::vector<float>& bias) {
  Forward f = poisoned(s);
  Reference reference;
  run(reference, LayerNorm{{f32(x, {s.rows, s.width})}, {f32(gain, {s.width})}, {f32(bias, {s.width})}, {f32(f.y, {s.rows, s.width})}, {f32(f.mean, {s.rows})}, {f32(f.scale, {s.rows})}, kEpsilon});
  return f;
}

Forward plain(Shape s, const std::vector<float>& x, const std::vector<float>& gain, const std::vector<float>& bias) {  // the formula in f32
  Forward f = poisoned(s);
  for (int64_t r = 0; r < s.rows; ++r) {
    const float* row = x.data() + r * s.width;
    float sum = 0, squares = 0;
    for (int64_t i = 0; i < s.width; ++i) sum += row[i];
    const float mean = sum / static_cast<float>(s.width);
    for (int64_t i = 0; i < s.width; ++i) squares += (row[i] - mean) * (row[i] - mean);
    const float scale = 1 / std::sqrt(squares / static_cast<float>(s.width) + kEpsilon);
    for (int64_t i = 0; i < s.width; ++i) f.y[static_cast<size_t>(r * s.width + i)] = (row[i] - mean) * scale * gain[static_cast<size_t>(i)] + bias[static_cast<size_t>(i)];
    f.mean[static_cast<size_t>(r)] = mean, f.scale[static_cast<size_t>(r)] = scale;
  }
  return f;
}

struct Backward { std::vector<float> dx, dgain, dbias; };

// The operands of a gradient, with dgain and dbias that hold something already.
struct Problem {
  Shape s;
  std::vector<float> dy, x, gain, residual, dgain, dbias;
  Forward forward;
  Problem(Shape shape, Type type)
      : s(shape), dy(as_type(normal(s.rows * s.width, 1), type)), x(as_type(plus(normal(s.rows * s.width, 2, 3), 1), type)), gain(plus(normal(s.width, 3, 0.2f), 1)),
        residual(as_type(normal(s.rows * s.width, 4), type)), dgain(normal(s.width, 5)), dbias(normal(s.width, 6)) {
    std::vector<float> bias(gain.size());
    forward = oracle(s, x, gain, bias);
  }
};

Backward oracle(Problem p, bool with_residual) {
  const Shape s = p.s;
  Backward b{std::vector<float>(p.x.size(), NAN), p.dgain, p.dbias};
  LayerNormGradient op{{f32(p.dy, {s.rows, s.width})}, {f32(p.x, {s.rows, s.width})}, {f32(p.gain, {s.width})}, {f32(p.forward.mean, {s.rows})}, {f32(p.forward.scale, {s.rows})}, {},
                       {f32(b.dx, {s.rows, s.width})}, {f32(b.dgain, {s.width})}, {f32(b.dbias, {s.width})}};
  if (with_residual) op.residual = {f32(p.residual, {s.rows, s.width})};
  Reference reference;
  run(reference, op);
  return b;
}

Backward plain(const Problem& p, bool with_residual) {  // the formulas in f32
  Backward b{std::vector<float>(p.x.size()), p.dgain, p.dbias};
  const int64_t width = p.s.width;
  for (int64_t r = 0; r < p.s.rows; ++r) {
    const float mean = p.forward.mean[static_cast<size_t>(r)], scale = p.forward.scale[static_cast<size_t>(r)];
    float sum_g = 0, sum_gn = 0;
    for (int pass = 0; pass < 2; ++pass)
      for (int64_t i = 0; i < width; ++i) {
        const size_t at = static_cast<size_t>(r * width + i), column = static_cast<size_t>(i);
        const float n = (p.x[at] - mean) * scale, g = p.dy[at] * p.gain[column];
        if (pass == 0) sum_g += g, sum_gn += g * n, b.dgain[column] += p.dy[at] * n, b.dbias[column] += p.dy[at];
        else b.dx[at] = scale * (g - sum_g / static_cast<float>(width) - n * sum_gn / static_cast<float>(width)) + (with_residual ? p.residual[at] : 0);
      }
  }
  return b;
}

Backward kernel(Device& device, Problem p, Type type, bool with_residual, bool in_place) {
  const Shape s = p.s;
  Operand dy(type, {s.rows, s.width}, p.dy), x(type, {s.rows, s.width}, p.x), residual(type, {s.rows, s.width}, p.residual), dx(type, {s.rows, s.width});
  LayerNormGradient op{{dy.tensor()}, {x.tensor()}, {f32(p.gain, {s.width})}, {f32(p.forward.mean, {s.rows})}, {f32(p.forward.scale, {s.rows})}, {},
                       {(in_place ? residual : dx).tensor()}, {f32(p.dgain, {s.width})}, {f32(p.dbias, {s.width})}};
  if (with_residual) op.residual = {residual.tensor()};
  run_op(device, op);
  return {(in_place ? residual : dx).values(), p.dgain, p.dbias};
}

std::string place(const std::string& name, Shape s, Type type) { return name + ", " + std::to_string(s.rows) + " x " + std::to_string(s.width) + " " + name_of(type); }

}  // namespace

TEST(layer_norm_against_reference) {
  for (Type type : {Type::f32, Type::bf16})
    for (Shape s : kShapes) {
      auto x = as_type(plus(normal(s.rows * s.width, 7, 3), 2), type), gain = plus(normal(s.width, 8, 0.2f), 1), bias = normal(s.width, 9, 0.3f);
      const Forward want = oracle(s, x, gain, bias), loop = plain(s, x, gain, bias);
      Forward first;
      on_devices([&](Device& device, const std::string& name, bool is_first) {
        Operand in(type, {s.rows, s.width}, x), out(type, {s.rows, s.width});
        Forward got = poisoned(s);
        run_op(device, LayerNorm{{in.tensor()}, {f32(gain, {s.width})}, {f32(bias, {s.width})}, {out.tensor()}, {f32(got.mean, {s.rows})}, {f32(got.scale, {s.rows})}, kEpsilon});
        got.y = out.values();
        const std::string at = place(name, s, type);
        EXPECT(within(error(got.y, want.y), error(as_type(loop.y, type), want.y)), "y: " + at);
        EXPECT(within(error(got.mean, want.mean), error(loop.mean, want.mean)), "mean: " + at);
        EXPECT(within(error(got.scale, want.scale), error(loop.scale, want.scale)), "scale: " + at);
        if (is_first) first = got;
        EXPECT(got.y == first.y && got.mean == first.mean && got.scale == first.scale, "the same bits with any number or order of threads: " + at);
      });
    }
}

TEST(layer_norm_gradient_against_reference) {
  for (Type type : {Type::f32, Type::bf16})
    for (Shape s : kShapes)
      for (bool with_residual : {false, true}) {
        const Problem problem(s, type);
        const Backward want = oracle(problem, with_residual), loop = plain(problem, with_residual);
        Backward first;
        on_devices([&](Device& device, const std::string& name, bool is_first) {
          const Backward got = kernel(device, problem, type, with_residual, false);
          const std::string at = place(name, s, type) + (with_residual ? ", residual" : "");
          if (s.width == 1)  // dx - residual is 0, as the difference of two equal terms of the size of dy gain scale
            EXPECT(std::abs(got.dx[0] - want.dx[0]) < 1e-6f * std::abs(problem.dy[0] * problem.gain[0] * problem.forward.scale[0]) + (type == Type::bf16 ? 0.01f : 0), "dx: " + at);
          else
            EXPECT(within(error(got.dx, want.dx), error(as_type(loop.dx, type), want.dx), 2e-7), "dx: " + at);
          EXPECT(within(error(got.dgain, want.dgain), error(loop.dgain, want.dgain)), "dgain: " + at);
          EXPECT(within(error(got.dbias, want.dbias), error(loop.dbias, want.dbias)), "dbias: " + at);
          if (is_first) first = got;
          EXPECT(got.dx == first.dx && got.dgain == first.dgain && got.dbias == first.dbias, "the same bits with any number or order of threads: " + at);
          if (with_residual) EXPECT(kernel(device, problem, type, true, true).dx == got.dx, "dx in the place of residual: " + at);
        });
      }
}

TEST(layer_norm_gradient_of_frozen_parameters) {  // what is asked for is the same, whatever else is
  on_devices([&](Device& device, const std::string& name, bool) {
    for (Type type : {Type::f32, Type::bf16}) {
      const Shape s{131, 29};
      const Problem problem(s, type);
      const Backward all = kernel(device, problem, type, true, false);
      for (int asked = 0; asked < 3; ++asked) {
        Problem p = problem;
        Operand dy(type, {s.rows, s.width}, p.dy), x(type, {s.rows, s.width}, p.x), residual(type, {s.rows, s.width}, p.residual), dx(type, {s.rows, s.width});
        LayerNormGradient op{{dy.tensor()}, {x.tensor()}, {f32(p.gain, {s.width})}, {f32(p.forward.mean, {s.rows})}, {f32(p.forward.scale, {s.rows})}, {residual.tensor()}, {dx.tensor()}, {}, {}};
        if (asked == 1) op.dgain = {f32(p.dgain, {s.width})};
        if (asked == 2) op.dbias = {f32(p.dbias, {s.width})};
        run_op(device, op);
        EXPECT(dx.values() == all.dx, "dx: " + name);
        EXPECT(p.dgain == (asked == 1 ? all.dgain : problem.dgain) && p.dbias == (asked == 2 ? all.dbias : problem.dbias), "dgain and dbias: " + name);
      }
    }
  });
}

TEST(layer_norm_gradient_by_finite_differences) {
  const Shape s{3, 11};
  auto x = normal(s.rows * s.width, 1), gain = plus(normal(s.width, 2, 0.2f), 1), bias = normal(s.width, 3), dy = normal(s.rows * s.width, 4);
  Problem problem(s, Type::f32);
  problem.x = x, problem.gain = gain, problem.dy = dy, problem.forward = oracle(s, x, gain, bias);
  problem.dgain.assign(gain.size(), 0), problem.dbias.assign(gain.size(), 0);
  const Backward got = oracle(problem, false);
  const auto loss = [&] { return dot(oracle(s, x, gain, bias).y, dy); };
  EXPECT(error(got.dx, finite_differences(x, loss)) < 2e-3, "dx");
  EXPECT(error(got.dgain, finite_differences(gain, loss)) < 1e-4, "dgain");
  EXPECT(error(got.dbias, finite_differences(bias, loss)) < 1e-4, "dbias");
}

TEST(layer_norm_nan_stays_in_its_row_and_is_seen) {
  for (Type type : {Type::f32, Type::bf16})
    on_devices([&](Device& device, const std::string& name, bool) {
      const Shape s{3, 21};
      Problem p(s, type);
      p.x[21 + 20] = NAN;
      std::vector<float> bias(21);
      Operand in(type, {s.rows, s.width}, p.x), out(type, {s.rows, s.width});
      run_op(device, LayerNorm{{in.tensor()}, {f32(p.gain, {21})}, {f32(bias, {21})}, {out.tensor()}, {f32(p.forward.mean, {3})}, {f32(p.forward.scale, {3})}, kEpsilon});
      const auto y = out.values();
      const Backward b = kernel(device, p, type, false, false);
      bool good = true;
      for (size_t i = 0; i < y.size(); ++i) good = good && std::isnan(y[i]) == (i / 21 == 1) && std::isnan(b.dx[i]) == (i / 21 == 1);
      for (float d : b.dgain) good = good && std::isnan(d);
      EXPECT(good, place(name, s, type));
    });
}

TEST(layer_norm_refuses) {
  std::vector<float> x(12), four(4), three(3), out(12);
  const LayerNorm good{{f32(x, {3, 4})}, {f32(four, {4})}, {f32(four, {4})}, {f32(out, {3, 4})}, {f32(three, {3})}, {f32(three, {3})}, kEpsilon};
  good.check();
  LayerNorm bad = good;
  bad.x.type = Type::i32;
  EXPECT(refuses(bad, "x must be f32 or bf16"), "i32");
  bad = good, bad.gain = {f32(three, {3})};
  EXPECT(refuses(bad, "per column"), "a short gain");
  bad = good, bad.mean = {f32(four, {4})};
  EXPECT(refuses(bad, "per row"), "a long mean");
  bad = good, bad.epsilon = 0;
  EXPECT(refuses(bad, "epsilon"), "epsilon 0");
  LayerNormGradient gradient{{f32(x, {3, 4})}, {f32(x, {3, 4})}, {f32(four, {4})}, {f32(three, {3})}, {f32(three, {3})}, {}, {f32(out, {3, 4})}, {f32(four, {4})}, {f32(four, {4})}};
  gradient.check();
  gradient.dgain = {}, gradient.dbias = {};
  gradient.check();
  gradient.dbias = {f32(three, {3})};
  EXPECT(refuses(gradient, "dgain and dbias"), "a short dbias");
  gradient.dbias = {};
  gradient.residual = {f32(x, {2, 4})};
  EXPECT(refuses(gradient, "residual"), "a short residual");
}
