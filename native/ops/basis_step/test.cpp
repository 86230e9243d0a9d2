// basis_step: several steps with other experts each against the double reference, the very bits of basis_adamw and then project, threads, NaN, ids that are none.
#include "ops/basis_step/basis_step.h"

#include <cmath>

#include "ops/basis_step/calls.h"
#include "ops/project/test_shape.h"
#include "test/devices.h"
#include "test/operand.h"

using namespace nichelm;
using namespace nichelm::test;

namespace {

using Shape = ProjectionShape;

// As in project's test, and each number of groups that the GPU has registers for; with 400 matrices there is not shared memory enough for their coefficients.
const Shape kShapes[] = {{2, 1, 1, 3, 1, 2},     {3, 2, 5, 2, 7, 13},   {4, 4, 4, 8, 64, 64}, {5, 3, 6, 5, 61, 67},  {32, 8, 9, 1, 131, 97},
                         {9, 4, 3, 12, 16, 34}, {7, 2, 6, 20, 11, 10}, {7, 5, 3, 40, 37, 41}, {2, 2, 400, 20, 3, 5}, {2, 2, 11, 3, 128, 160}, {2, 3, 4, 2, 0, 5}};

// What a run keeps from step to step: basis and moments, and the coefficients and weights of the step to come.
struct State {
  std::vector<float> basis, m, v;
  Operand coefficients, weights;
  State(const Shape& s, Type type) : basis(normal(s.h * s.size(), 7, 0.1f)), m(basis.size()), v(basis.size()), coefficients(Type::f32, {s.groups, s.h}), weights(type, {s.groups, s.inputs, s.outputs}) {
    coefficients = Operand(Type::f32, {s.groups, s.h}, normal(s.groups * s.h, 8));
  }
};

// Three steps whose gradients, experts, rate and clip change; act(op) does one. bad: an id of the last step's, for group 0.
template <class Act> void three_steps(const Shape& s, State& state, const Act& act, int32_t bad = 0) {
  const std::vector<int64_t> shape{s.h, s.inputs, s.outputs};
  for (int t = 1; t <= 3; ++t) {
    const unsigned seed = 10u * static_cast<unsigned>(t);
    auto dweights = normal(s.groups * s.size(), seed, 0.1f), experts = normal(s.experts * s.m, seed + 1), mix = normal(s.m * s.h, seed + 2);
    std::vector<int32_t> ids(static_cast<size_t>(s.groups));
    for (size_t g = 0; g < ids.size(); ++g) ids[g] = static_cast<int32_t>((g * g + static_cast<size_t>(t)) % static_cast<size_t>(s.experts));
    if (bad && t == 3) ids[0] = bad;
    std::vector<float> clip{t % 3 ? 1.0f : 0.5f}, schedule{0.01f / static_cast<float>(t), static_cast<float>(1 - std::pow(0.9, t)), static_cast<float>(1 - std::pow(0.95, t))};
    act(BasisStep{{f32(dweights, {s.groups, s.inputs, s.outputs})}, {f32(clip, {1})}, {f32(schedule, {3})}, {f32(experts, {s.experts, s.m})}, {f32(mix, {s.m, s.h})}, {i32(ids, {s.groups})},
                  {state.coefficients.tensor()}, {f32(state.basis, shape)}, {f32(state.m, shape)}, {f32(state.v, shape)}, {state.weights.tensor()}, 0.9f, 0.95f, 1e-8f, 0.1f, 0.75f});
  }
}

void plain_step(const BasisStep& op) {  // the formulas in f32
  const int64_t groups = op.ids.size(), k = op.mix.shape[0], h = op.mix.shape[1], size = op.basis.shape[1] * op.basis.shape[2];
  float *c = op.coefficients.as<float>(), *basis = op.basis.as<float>();
  const float* schedule = op.schedule.as<float>();
  for (int64_t i = 0; i < h * size; ++i) {
    float &m = op.m.as<float>()[i], &v = op.v.as<float>()[i], slope = 0;
    for (int64_t g = 0; g < groups; ++g) slope += c[g * h + i / size] * op.dweights.as<float>()[g * size + i % size];
    slope *= op.clip.as<float>()[0];
    m = op.beta1 * m + (1 - op.beta1) * slope;
    v = op.beta2 * v + (1 - op.beta2) * slope * slope;
    basis[i] = basis[i] * (1 - schedule[0] * op.weight_decay) - schedule[0] * (m / schedule[1]) / (std::sqrt(v / schedule[2]) + op.epsilon);
  }
  for (int64_t g = 0; g < groups; ++g) {
    for (int64_t r = 0; r < h; ++r) {
      float sum = 0;
      for (int64_t q = 0; q < k; ++q) sum += op.experts.as<float>()[op.ids.as<int32_t>()[g] * k + q] * op.mix.as<float>()[q * h + r];
      c[g * h + r] = op.scale * sum;
    }
    for (int64_t i = 0; i < size; ++i) {
      float sum = 0;
      for (int64_t r = 0; r < h; ++r) sum += c[g * h + r] * basis[r * size + i];
      op.weights.as<float>()[g * size + i] = sum;
    }
  }
}

}  // namespace

TEST(basis_step_against_reference) {
  for (const Shape& s : kShapes)
    for (const Type type : {Type::f32, Type::bf16}) {
      State want(s, Type::f32), plain(s, Type::f32), first(s, type);
      Reference reference;
      three_steps(s, want, [&](const BasisStep& op) { run(reference, op); });
      three_steps(s, plain, plain_step);
      on_devices([&](Device& device, const std::string& name, bool is_first) {
        State got(s, type);
        three_steps(s, got, [&](const BasisStep& op) { run_op(device, op); });
        const std::string at = s.text() + " " + name_of(type) + ", " + name;
        EXPECT(within(error(got.basis, want.basis), error(plain.basis, want.basis)), "basis: " + at);
        EXPECT(within(error(got.m, want.m), error(plain.m, want.m)), "m: " + at);
        EXPECT(within(error(got.v, want.v), error(plain.v, want.v)), "v: " + at);
        EXPECT(within(error(got.coefficients.values(), want.coefficients.values()), error(plain.coefficients.values(), want.coefficients.values())), "coefficients: " + at);
        EXPECT(within(error(got.weights.values(), want.weights.values()), error(as_type(plain.weights.values(), type), want.weights.values())), "weights: " + at);
        const bool same = is_first || (same_bits(got.basis, first.basis) && same_bits(got.m, first.m) && same_bits(got.v, first.v) && same_bits(got.weights.values(), first.weights.values()));
        EXPECT(same, "the same bits with any number or order of threads: " + at);
        if (is_first) first = std::move(got);
      });
    }
}

// So a run may project with its update or by itself, whenever, and comes out the same.
TEST(basis_step_is_both_calls) {
  for (const Shape& s : kShapes)
    for (const Type type : {Type::f32, Type::bf16})
      on_devices([&](Device& device, const std::string& name, bool) {
        State one(s, type), two(s, type);
        three_steps(s, one, [&](const BasisStep& op) { run_op(device, op); });
        three_steps(s, two, [&](const BasisStep& op) { run_op(device, update_of(op)), run_op(device, projection_of(op)); });
        EXPECT(same_bits(one.basis, two.basis) && same_bits(one.m, two.m) && same_bits(one.v, two.v), "basis and moments: " + s.text() + ", " + name);
        EXPECT(same_bits(one.coefficients.values(), two.coefficients.values()), "coefficients: " + s.text() + ", " + name);
        EXPECT(same_bits(one.weights.values(), two.weights.values()), "weights: " + s.text() + " " + name_of(type) + ", " + name);
      });
}

TEST(basis_step_shows_what_is_not_a_number) {
  const Shape s{3, 2, 5, 4, 29, 31};
  for (const int32_t bad : {-1, 3, INT32_MAX, INT32_MIN})
    on_devices([&](Device& device, const std::string& name, bool) {
      State state(s, Type::f32);
      three_steps(s, state, [&](const BasisStep& op) { run_op(device, op); }, bad);
      const auto weights = state.weights.values();
      for (size_t i = 0; i < weights.size(); ++i) EXPECT(std::isnan(weights[i]) == (static_cast<int64_t>(i) < s.size()), name + ": a group without an expert is NaN, the others are not");
      for (float x : state.basis) EXPECT(std::isfinite(x), name + ": the basis is not of the step to come");
    });
  on_devices([&](Device& device, const std::string& name, bool) {
    State state(s, Type::bf16);
    state.basis[static_cast<size_t>(2 * s.size() + s.size() - 1)] = NAN;  // of matrix 2, the last
    three_steps(s, state, [&](const BasisStep& op) { run_op(device, op); });
    const auto weights = state.weights.values();
    for (size_t i = 0; i < weights.size(); ++i) EXPECT(std::isnan(weights[i]) == (static_cast<int64_t>(i) % s.size() == s.size() - 1), name + ": one element of the basis");
  });
}

TEST(basis_step_refuses) {
  const Shape s{3, 2, 5, 4, 6, 7};
  State state(s, Type::f32);
  Operand other(Type::f32, {4, 7, 6}), few(Type::i32, {3});
  three_steps(s, state, [&](const BasisStep& good) {
    good.check();
    BasisStep bad = good;
    bad.weights = {other.tensor()};
    EXPECT(refuses(bad, "weights must have the shape"), "weights transposed");
    bad = good, bad.dweights = {other.tensor()};
    EXPECT(refuses(bad, "basis must have the shape"), "dweights transposed");
    bad = good, bad.ids = {few.tensor()};
    EXPECT(refuses(bad, "coefficients must be"), "another number of groups");
    bad = good, bad.epsilon = 0;
    EXPECT(refuses(bad, "epsilon"), "no epsilon");
  });
}
