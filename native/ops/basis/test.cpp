// basis_norm and basis_adamw: against the double reference, the gradient they form against finite differences of project, threads, NaN.
#include "ops/basis/basis.h"

#include <cmath>

#include "ops/project/project.h"
#include "test/devices.h"
#include "test/gradient.h"
#include "test/operand.h"

using namespace nichelm;
using namespace nichelm::test;

namespace {

struct Shape {
  int64_t h, groups, inputs, outputs;
  int64_t size() const { return inputs * outputs; }
  std::string text() const { return std::to_string(h) + " x " + std::to_string(groups) + " x " + std::to_string(inputs) + " x " + std::to_string(outputs); }
};
const Shape kShapes[] = {{1, 1, 1, 1}, {5, 2, 7, 13}, {4, 8, 64, 64}, {6, 5, 61, 67}, {9, 1, 131, 97}, {3, 12, 16, 34}, {2, 20, 11, 9}, {3, 40, 37, 41}, {2, 3, 128, 160}, {3, 2, 0, 4}};

struct Factors {
  Shape s;
  std::vector<float> dweights, coefficients;
  explicit Factors(const Shape& s, unsigned seed = 1) : s(s), dweights(normal(s.groups * s.size(), seed, 0.1f)), coefficients(normal(s.groups * s.h, seed + 1)) {}
  BasisNorm norm(float* squares) { return {{f32(dweights, {s.groups, s.inputs, s.outputs})}, {f32(coefficients, {s.groups, s.h})}, {tensor(squares, Type::f32, {1})}}; }
};

struct State {
  std::vector<float> basis, m, v;
  explicit State(const Shape& s) : basis(normal(s.h * s.size(), 7)), m(basis.size()), v(basis.size()) {}
};

// Five steps with factors, rate and clip that change; step(op) does one.
template <class Step> void five_steps(const Shape& s, State& state, const Step& step) {
  const std::vector<int64_t> shape{s.h, s.inputs, s.outputs};
  for (int t = 1; t <= 5; ++t) {
    Factors factors(s, 10u * static_cast<unsigned>(t));
    std::vector<float> clip{t % 3 ? 1.0f : 0.5f}, schedule{0.01f / static_cast<float>(t), static_cast<float>(1 - std::pow(0.9, t)), static_cast<float>(1 - std::pow(0.95, t))};
    step(BasisAdamw{{f32(factors.dweights, {s.groups, s.inputs, s.outputs})}, {f32(factors.coefficients, {s.groups, s.h})}, {f32(clip, {1})}, {f32(schedule, {3})}, {f32(state.basis, shape)},
                    {f32(state.m, shape)}, {f32(state.v, shape)}, 0.9f, 0.95f, 1e-8f, 0.1f});
  }
}

void plain_step(const BasisAdamw& op) {  // the formula in f32
  const int64_t groups = op.coefficients.shape[0], h = op.coefficients.shape[1], size = op.dweights.shape[1] * op.dweights.shape[2];
  const float* schedule = op.schedule.as<float>();
  for (int64_t i = 0; i < h * size; ++i) {
    float &p = op.basis.as<float>()[i], &m = op.m.as<float>()[i], &v = op.v.as<float>()[i], g = 0;
    for (int64_t k = 0; k < groups; ++k) g += op.coefficients.as<float>()[k * h + i / size] * op.dweights.as<float>()[k * size + i % size];
    g *= op.clip.as<float>()[0];
    m = op.beta1 * m + (1 - op.beta1) * g;
    v = op.beta2 * v + (1 - op.beta2) * g * g;
    p = p * (1 - schedule[0] * op.weight_decay) - schedule[0] * (m / schedule[1]) / (std::sqrt(v / schedule[2]) + op.epsilon);
  }
}

float plain_squares(const Factors& f) {
  float sum = 0;
  for (int64_t r = 0; r < f.s.h; ++r)
    for (int64_t i = 0; i < f.s.size(); ++i) {
      float g = 0;
      for (int64_t k = 0; k < f.s.groups; ++k) g += f.coefficients[static_cast<size_t>(k * f.s.h + r)] * f.dweights[static_cast<size_t>(k * f.s.size() + i)];
      sum += g * g;
    }
  return sum;
}

}  // namespace

TEST(basis_norm_against_reference) {
  for (const Shape& s : kShapes) {
    Factors factors(s);
    float want = 0.25f, first = 0;
    Reference reference;
    run(reference, factors.norm(&want));
    const double plain = std::abs(0.25f + plain_squares(factors) - want) / want;
    on_devices([&](Device& device, const std::string& name, bool is_first) {
      float got = 0.25f;
      run_op(device, factors.norm(&got));
      EXPECT(within(std::abs(got - want) / want, plain), s.text() + ", " + name);
      if (is_first) first = got;
      EXPECT(got == first, "the same bits with any number or order of threads: " + s.text() + ", " + name);
    });
  }
}

// Gradients of two groups of one expert that cancel, but for a last bit here and there, leave next to nothing, and what rounding makes of it is not below 0.
TEST(basis_norm_of_what_cancels) {
  const Shape s{4, 2, 50, 60};
  for (unsigned seed = 1; seed <= 12; ++seed) {
    Factors factors(s, seed);
    for (size_t i = 0; i < 3000; ++i) factors.dweights[3000 + i] = -factors.dweights[i] * (1 + static_cast<float>((i * seed) % 5) * 0x1p-23f);
    for (size_t r = 0; r < 4; ++r) factors.coefficients[4 + r] = factors.coefficients[r];
    on_devices([&](Device& device, const std::string& name, bool) {
      float squares = 0;
      run_op(device, factors.norm(&squares));
      EXPECT(squares >= 0 && squares < 1e-4, name + ": " + std::to_string(squares));
    });
  }
}

TEST(basis_adamw_five_steps) {
  for (const Shape& s : kShapes) {
    State want(s), plain(s), first(s);
    Reference reference;
    five_steps(s, want, [&](const BasisAdamw& op) { run(reference, op); });
    five_steps(s, plain, plain_step);
    on_devices([&](Device& device, const std::string& name, bool is_first) {
      State got(s);
      five_steps(s, got, [&](const BasisAdamw& op) { run_op(device, op); });
      const std::string at = s.text() + ", " + name;
      EXPECT(within(error(got.basis, want.basis), error(plain.basis, want.basis)), "basis: " + at);
      EXPECT(within(error(got.m, want.m), error(plain.m, want.m)), "m: " + at);
      EXPECT(within(error(got.v, want.v), error(plain.v, want.v)), "v: " + at);
      if (is_first) first = got;
      EXPECT(same_bits(got.basis, first.basis) && same_bits(got.m, first.m) && same_bits(got.v, first.v), "the same bits with any number or order of threads: " + at);
    });
  }
}

// With beta1 of 0, m becomes the gradient: that of <project(basis), dweights>, whose squares are basis_norm's.
TEST(basis_gradient_against_differences) {
  auto experts = normal(2 * 2, 1), mix = normal(2 * 3, 2), basis = normal(3 * 15, 3), dweights = normal(4 * 15, 4), m = normal(3 * 15, 5), v = std::vector<float>(45, 1.0f);
  std::vector<int32_t> ids{1, 0, 1, 1};
  Operand coefficients(Type::f32, {4, 3});
  Reference reference;
  const auto loss = [&] {
    Operand weights(Type::f32, {4, 3, 5});
    run(reference, Project{{f32(experts, {2, 2})}, {f32(mix, {2, 3})}, {f32(basis, {3, 3, 5})}, {i32(ids, {4})}, {coefficients.tensor()}, {weights.tensor()}, 1.5f});
    return dot(weights.values(), dweights);
  };
  const auto want = finite_differences(basis, loss);
  float squares = 0;
  run(reference, BasisNorm{{f32(dweights, {4, 3, 5})}, {coefficients.tensor()}, {tensor(&squares, Type::f32, {1})}});
  EXPECT(std::abs(squares - dot(want, want)) < 1e-4 * squares, "squares");
  std::vector<float> clip{1}, schedule{0.1f, 1, 1};
  const BasisAdamw op{{f32(dweights, {4, 3, 5})}, {coefficients.tensor()}, {f32(clip, {1})}, {f32(schedule, {3})}, {f32(basis, {3, 3, 5})}, {f32(m, {3, 3, 5})}, {f32(v, {3, 3, 5})}, 0, 0.95f, 1e-8f, 0};
  run(reference, op);
  EXPECT(error(m, want) < 1e-4, "dbasis");
}

TEST(basis_shows_what_is_not_a_number) {
  const Shape s{3, 2, 29, 31};
  on_devices([&](Device& device, const std::string& name, bool) {
    Factors factors(s);
    State state(s);
    const std::vector<int64_t> shape{s.h, s.inputs, s.outputs};
    std::vector<float> clip{1}, schedule{0.1f, 1, 1};
    const BasisAdamw op{{f32(factors.dweights, {2, 29, 31})}, {f32(factors.coefficients, {2, 3})}, {f32(clip, {1})}, {f32(schedule, {3})}, {f32(state.basis, shape)}, {f32(state.m, shape)},
                        {f32(state.v, shape)}, 0.9f, 0.95f, 1e-8f, 0};
    factors.dweights[29 * 31 * 2 - 1] = NAN;
    float squares = 0;
    run_op(device, factors.norm(&squares));
    EXPECT(std::isnan(squares), name + ": squares");
    run_op(device, op);
    for (size_t i = 0; i < state.basis.size(); ++i) EXPECT(std::isnan(state.basis[i]) == (i % (29 * 31) == 29 * 31 - 1), name + ": one element of every matrix");
    clip[0] = NAN;
    run_op(device, op);
    for (float x : state.basis) EXPECT(std::isnan(x), name + ": a clip that is not a number reaches all");
  });
}

TEST(basis_refuses) {
  const Shape s{3, 2, 4, 5};
  Factors factors(s);
  State state(s);
  float squares = 0;
  std::vector<float> one(1), three(3);
  BasisNorm norm = factors.norm(&squares);
  norm.check();
  norm.coefficients = {f32(factors.coefficients, {3, 2})};
  EXPECT(refuses(norm, "coefficients must be"), "coefficients transposed");
  const std::vector<int64_t> shape{3, 4, 5};
  const BasisAdamw good{{f32(factors.dweights, {2, 4, 5})}, {f32(factors.coefficients, {2, 3})}, {f32(one, {1})}, {f32(three, {3})}, {f32(state.basis, shape)}, {f32(state.m, shape)}, {f32(state.v, shape)},
                        0.9f, 0.95f, 1e-8f, 0};
  good.check();
  BasisAdamw bad = good;
  bad.basis = {f32(state.basis, {3, 5, 4})};
  EXPECT(refuses(bad, "basis must have the shape"), "a basis of other matrices");
  bad = good, bad.v = {f32(one, {1})};
  EXPECT(refuses(bad, "as large as basis"), "a short v");
  bad = good, bad.schedule = {f32(one, {1})};
  EXPECT(refuses(bad, "schedule"), "a short schedule");
  bad = good, bad.epsilon = 0;
  EXPECT(refuses(bad, "epsilon"), "no epsilon");
}
