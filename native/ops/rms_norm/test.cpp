// rms_norm and its gradient: both types against the double reference, finite differences, threads, in place, NaN.
#include "ops/rms_norm/rms_norm.h"

#include "test/devices.h"
#include "test/gradient.h"
#include "test/operand.h"

using namespace nichelm;
using namespace nichelm::test;

namespace {

constexpr float kEpsilon = 1e-5f;

struct Shape { int64_t rows, width; };
const Shape kShapes[] = {{1, 1}, {1, 7}, {3, 16}, {5, 31}, {33, 67}, {130, 128}, {4099, 24}, {257, 769}, {18, 12301}};

std::vector<float> gains(int64_t width) {
  auto x = normal(width, 8, 0.2f);
  for (float& v : x) v += 1;
  return x;
}

struct Forward { std::vector<float> y, scale; };

Forward poisoned(Shape s) { return {std::vector<float>(static_cast<size_t>(s.rows * s.width), NAN), std::vector<float>(static_cast<size_t>(s.rows), NAN)}; }

Forward oracle(Shape s, std::vector<float>& x, std::vector<float>& gain) {
  Forward f = poisoned(s);
  Reference reference;
  run(reference, RmsNorm{{f32(x, {s.rows, s.width})}, {f32(gain, {s.width})}, {f32(f.y, {s.rows, s.width})}, {f32(f.scale, {s.rows})}, kEpsilon});
  return f;
}

Forward plain(Shape s, const std::vector<float>& x, const std::vector<float>& gain) {  // the formula in f32
  Forward f = poisoned(s);
  for (int64_t r = 0; r < s.rows; ++r) {
    const float* row = x.data() + r * s.width;
    float squares = 0;
    for (int64_t i = 0; i < s.width; ++i) squares += row[i] * row[i];
    const float scale = 1 / std::sqrt(squares / static_cast<float>(s.width) + kEpsilon);
    for (int64_t i = 0; i < s.width; ++i) f.y[static_cast<size_t>(r * s.width + i)] = row[i] * scale * gain[static_cast<size_t>(i)];
    f.scale[static_cast<size_t>(r)] = scale;
  }
  return f;
}

struct Backward { std::vector<float> dx, dgain; };

// The operands of a gradient, with a dgain that holds something already.
struct Problem {
  Shape s;
  std::vector<float> dy, x, gain, residual, dgain, scale;
  Problem(Shape shape, Type type)
      : s(shape), dy(as_type(normal(s.rows * s.width, 1), type)), x(as_type(normal(s.rows * s.width, 2, 3), type)), gain(gains(s.width)),
        residual(as_type(normal(s.rows * s.width, 4), type)), dgain(normal(s.width, 5)), scale(oracle(s, x, gain).scale) {}
};

Backward oracle(Problem p, bool with_residual) {
  const Shape s = p.s;
  Backward b{std::vector<float>(p.x.size(), NAN), p.dgain};
  RmsNormGradient op{{f32(p.dy, {s.rows, s.width})}, {f32(p.x, {s.rows, s.width})}, {f32(p.gain, {s.width})}, {f32(p.scale, {s.rows})}, {}, {f32(b.dx, {s.rows, s.width})}, {f32(b.dgain, {s.width})}};
  if (with_residual) op.residual = {f32(p.residual, {s.rows, s.width})};
  Reference reference;
  run(reference, op);
  return b;
}

Backward plain(const Problem& p, bool with_residual) {  // the formulas in f32
  Backward b{std::vector<float>(p.x.size()), p.dgain};
  const int64_t width = p.s.width;
  for (int64_t r = 0; r < p.s.rows; ++r) {
    const float scale = p.scale[static_cast<size_t>(r)];
    float sum = 0;
    for (int pass = 0; pass < 2; ++pass)
      for (int64_t i = 0; i < width; ++i) {
        const size_t at = static_cast<size_t>(r * width + i), column = static_cast<size_t>(i);
        const float g = p.dy[at] * p.gain[column];
        if (pass == 0) sum += g * p.x[at], b.dgain[column] += p.dy[at] * p.x[at] * scale;
        else b.dx[at] = scale * (g - p.x[at] * scale * scale * sum / static_cast<float>(width)) + (with_residual ? p.residual[at] : 0);
      }
  }
  return b;
}

Backward kernel(Device& device, Problem p, Type type, bool with_residual, bool in_place) {
  const Shape s = p.s;
  Operand dy(type, {s.rows, s.width}, p.dy), x(type, {s.rows, s.width}, p.x), residual(type, {s.rows, s.width}, p.residual), dx(type, {s.rows, s.width});
  RmsNormGradient op{{dy.tensor()}, {x.tensor()}, {f32(p.gain, {s.width})}, {f32(p.scale, {s.rows})}, {},
                     {(in_place ? residual : dx).tensor()}, {f32(p.dgain, {s.width})}};
  if (with_residual) op.residual = {residual.tensor()};
  run_op(device, op);
  return {(in_place ? residual : dx).values(), p.dgain};
}

std::string place(const std::string& name, Shape s, Type type) { return name + ", " + std::to_string(s.rows) + " x " + std::to_string(s.width) + " " + name_of(type); }

}  // namespace

TEST(rms_norm_against_reference) {
  for (Type type : {Type::f32, Type::bf16})
    for (Shape s : kShapes) {
      auto x = as_type(normal(s.rows * s.width, 7, 3), type), gain = gains(s.width);
      const Forward want = oracle(s, x, gain), loop = plain(s, x, gain);
      Forward first;
      on_devices([&](Device& device, const std::string& name, bool is_first) {
        Operand in(type, {s.rows, s.width}, x), out(type, {s.rows, s.width});
        Forward got = poisoned(s);
        run_op(device, RmsNorm{{in.tensor()}, {f32(gain, {s.width})}, {out.tensor()}, {f32(got.scale, {s.rows})}, kEpsilon});
        got.y = out.values();
        const std::string at = place(name, s, type);
        EXPECT(within(error(got.y, want.y), error(as_type(loop.y, type), want.y)), "y: " + at);
        EXPECT(within(error(got.scale, want.scale), error(loop.scale, want.scale)), "scale: " + at);
        if (is_first) first = got;
        EXPECT(got.y == first.y && got.scale == first.scale, "the same bits with any number or order of threads: " + at);
      });
    }
}

TEST(rms_norm_gradient_against_reference) {
  for (Type type : {Type::f32, Type::bf16})
    for (Shape s : kShapes)
      for (bool with_residual : {false, true}) {
        const Problem problem(s, type);
        const Backward want = oracle(problem, with_residual), loop = plain(problem, with_residual);
        Backward first;
        on_devices([&](Device& device, const std::string& name, bool is_first) {
          const Backward got = kernel(device, problem, type, with_residual, false);
          const std::string at = place(name, s, type) + (with_residual ? ", residual" : "");
          if (s.width == 1)  // dx - residual nearly cancels: two terms of the size of dy gain scale
            EXPECT(std::abs(got.dx[0] - want.dx[0]) < 1e-6f * std::abs(problem.dy[0] * problem.gain[0] * problem.scale[0]) + (type == Type::bf16 ? 0.01f : 0), "dx: " + at);
          else
            EXPECT(within(error(got.dx, want.dx), error(as_type(loop.dx, type), want.dx), 2e-7), "dx: " + at);
          EXPECT(within(error(got.dgain, want.dgain), error(loop.dgain, want.dgain)), "dgain: " + at);
          if (is_first) first = got;
          EXPECT(got.dx == first.dx && got.dgain == first.dgain, "the same bits with any number or order of threads: " + at);
          if (with_residual) EXPECT(kernel(device, problem, type, true, true).dx == got.dx, "dx in the place of residual: " + at);
        });
      }
}

TEST(rms_norm_gradient_of_a_frozen_gain) {
  on_devices([&](Device& device, const std::string& name, bool) {
    for (Type type : {Type::f32, Type::bf16}) {
      const Shape s{131, 29};
      Problem p(s, type);
      const Backward with = kernel(device, p, type, true, false);
      Operand dy(type, {s.rows, s.width}, p.dy), x(type, {s.rows, s.width}, p.x), residual(type, {s.rows, s.width}, p.residual), dx(type, {s.rows, s.width});
      run_op(device, RmsNormGradient{{dy.tensor()}, {x.tensor()}, {f32(p.gain, {s.width})}, {f32(p.scale, {s.rows})}, {residual.tensor()}, {dx.tensor()}, {}});
      EXPECT(dx.values() == with.dx, name);
    }
  });
}

TEST(rms_norm_gradient_by_finite_differences) {
  Problem p({3, 11}, Type::f32);
  p.x = normal(33, 2), p.scale = oracle(p.s, p.x, p.gain).scale;
  p.dgain.assign(p.gain.size(), 0);
  const Backward got = oracle(p, false);
  const auto loss = [&] { return dot(oracle(p.s, p.x, p.gain).y, p.dy); };
  EXPECT(error(got.dx, finite_differences(p.x, loss)) < 2e-3, "dx");
  EXPECT(error(got.dgain, finite_differences(p.gain, loss)) < 1e-4, "dgain");
}

TEST(rms_norm_nan_stays_in_its_row_and_is_seen) {
  for (Type type : {Type::f32, Type::bf16})
    on_devices([&](Device& device, const std::string& name, bool) {
      const Shape s{3, 21};
      Problem p(s, type);
      p.x[21 + 20] = NAN;
      Operand in(type, {s.rows, s.width}, p.x), out(type, {s.rows, s.width});
      run_op(device, RmsNorm{{in.tensor()}, {f32(p.gain, {21})}, {out.tensor()}, {f32(p.scale, {3})}, kEpsilon});
      const auto y = out.values();
      const Backward b = kernel(device, p, type, false, false);
      bool good = true;
      for (size_t i = 0; i < y.size(); ++i) good = good && std::isnan(y[i]) == (i / 21 == 1) && std::isnan(b.dx[i]) == (i / 21 == 1);
      for (float d : b.dgain) good = good && std::isnan(d);
      EXPECT(good, place(name, s, type));
    });
}

TEST(rms_norm_refuses) {
  std::vector<float> x(12), four(4), three(3), out(12);
  const RmsNorm good{{f32(x, {3, 4})}, {f32(four, {4})}, {f32(out, {3, 4})}, {f32(three, {3})}, kEpsilon};
  good.check();
  RmsNorm bad = good;
  bad.x.type = Type::i32;
  EXPECT(refuses(bad, "x must be f32 or bf16"), "i32");
  bad = good, bad.gain = {f32(three, {3})};
  EXPECT(refuses(bad, "per column"), "a short gain");
  bad = good, bad.scale = {f32(four, {4})};
  EXPECT(refuses(bad, "per row"), "a long scale");
  bad = good, bad.epsilon = 0;
  EXPECT(refuses(bad, "epsilon"), "epsilon 0");
  RmsNormGradient gradient{{f32(x, {3, 4})}, {f32(x, {3, 4})}, {f32(four, {4})}, {f32(three, {3})}, {}, {f32(out, {3, 4})}, {f32(four, {4})}};
  gradient.check();
  gradient.residual = {f32(x, {2, 4})};
  EXPECT(refuses(gradient, "residual"), "a short residual");
}
