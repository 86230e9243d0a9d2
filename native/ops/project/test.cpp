// project and project_gradient: against the double reference, the reference against finite differences, odd shapes, threads, NaN, ids that are none.
#include "ops/project/project.h"

#include <cmath>

#include "ops/project/test_shape.h"
#include "test/devices.h"
#include "test/gradient.h"
#include "test/operand.h"

using namespace nichelm;
using namespace nichelm::test;

namespace {

using Shape = ProjectionShape;

// Whole chunks and parts of them, a last lane, groups and bases that no block divides, many groups (small chunks), next to nothing, no elements.
const Shape kShapes[] = {{2, 1, 1, 3, 1, 2}, {3, 2, 5, 2, 7, 13}, {4, 4, 4, 8, 64, 64}, {5, 3, 6, 5, 61, 67}, {32, 8, 9, 1, 131, 97}, {7, 5, 3, 40, 37, 41}, {2, 2, 11, 3, 128, 160}, {2, 3, 4, 2, 0, 5}};

struct Projection {
  Shape s;
  std::vector<float> experts, mix, basis, dweights;
  std::vector<int32_t> ids;
  float scale = 0.75f;

  explicit Projection(const Shape& s)
      : s(s), experts(normal(s.experts * s.m, 1)), mix(normal(s.m * s.h, 2)), basis(normal(s.h * s.size(), 3, 0.1f)), dweights(normal(s.groups * s.size(), 4)), ids(static_cast<size_t>(s.groups)) {
    for (size_t g = 0; g < ids.size(); ++g) ids[g] = static_cast<int32_t>(g * g % static_cast<size_t>(s.experts));  // some come twice
  }

  Project forward(Tensor coefficients, Tensor weights) {
    return {{f32(experts, {s.experts, s.m})}, {f32(mix, {s.m, s.h})}, {f32(basis, {s.h, s.inputs, s.outputs})}, {i32(ids, {s.groups})}, {coefficients}, {weights}, scale};
  }
  ProjectGradient backward(std::vector<float>& dexperts, std::vector<float>& dmix) {
    return {{f32(dweights, {s.groups, s.inputs, s.outputs})}, {f32(experts, {s.experts, s.m})}, {f32(mix, {s.m, s.h})}, {f32(basis, {s.h, s.inputs, s.outputs})}, {i32(ids, {s.groups})},
            {f32(dexperts, {s.experts, s.m})}, {f32(dmix, {s.m, s.h})}, scale};
  }
};

struct Weights {
  std::vector<float> coefficients, weights;
};
Weights reference_weights(Projection& p) {
  Operand coefficients(Type::f32, {p.s.groups, p.s.h}), weights(Type::f32, {p.s.groups, p.s.inputs, p.s.outputs});
  Reference reference;
  run(reference, p.forward(coefficients.tensor(), weights.tensor()));
  return {coefficients.values(), weights.values()};
}

// The formulas in f32, one term after the other.
Weights plain_weights(const Projection& p) {
  Weights out{std::vector<float>(static_cast<size_t>(p.s.groups * p.s.h)), std::vector<float>(static_cast<size_t>(p.s.groups * p.s.size()))};
  for (int64_t g = 0; g < p.s.groups; ++g)
    for (int64_t r = 0; r < p.s.h; ++r) {
      float c = 0;
      for (int64_t q = 0; q < p.s.m; ++q) c += p.experts[static_cast<size_t>(p.ids[static_cast<size_t>(g)] * p.s.m + q)] * p.mix[static_cast<size_t>(q * p.s.h + r)];
      out.coefficients[static_cast<size_t>(g * p.s.h + r)] = c *= p.scale;
      for (int64_t i = 0; i < p.s.size(); ++i) out.weights[static_cast<size_t>(g * p.s.size() + i)] += c * p.basis[static_cast<size_t>(r * p.s.size() + i)];
    }
  return out;
}

struct Gradients {
  std::vector<float> experts, mix;
  explicit Gradients(const Shape& s) : experts(normal(s.experts * s.m, 5)), mix(normal(s.m * s.h, 6)) {}  // added to
};
Gradients plain_gradients(const Projection& p) {
  Gradients out(p.s);
  for (int64_t g = 0; g < p.s.groups; ++g)
    for (int64_t r = 0; r < p.s.h; ++r) {
      float dc = 0;
      for (int64_t i = 0; i < p.s.size(); ++i) dc += p.dweights[static_cast<size_t>(g * p.s.size() + i)] * p.basis[static_cast<size_t>(r * p.s.size() + i)];
      dc *= p.scale;
      for (int64_t q = 0; q < p.s.m; ++q) {
        const size_t expert = static_cast<size_t>(p.ids[static_cast<size_t>(g)] * p.s.m + q), mix = static_cast<size_t>(q * p.s.h + r);
        out.experts[expert] += dc * p.mix[mix];
        out.mix[mix] += dc * p.experts[expert];
      }
    }
  return out;
}

}  // namespace

TEST(project_against_reference) {
  for (const Shape& s : kShapes)
    for (const Type type : {Type::f32, Type::bf16}) {
      Projection p(s);
      const Weights want = reference_weights(p), plain = plain_weights(p);
      std::vector<float> first;
      on_devices([&](Device& device, const std::string& name, bool is_first) {
        Operand coefficients(Type::f32, {s.groups, s.h}), weights(type, {s.groups, s.inputs, s.outputs});
        run_op(device, p.forward(coefficients.tensor(), weights.tensor()));
        const std::string at = s.text() + " " + name_of(type) + ", " + name;
        EXPECT(within(error(coefficients.values(), want.coefficients), error(plain.coefficients, want.coefficients)), "coefficients: " + at);
        EXPECT(within(error(weights.values(), want.weights), error(as_type(plain.weights, type), want.weights)), "weights: " + at);
        if (is_first) first = weights.values();
        EXPECT(same_bits(weights.values(), first), "the same bits with any number or order of threads: " + at);
      });
    }
}

TEST(project_gradient_against_reference) {
  for (const Shape& s : kShapes) {
    Projection p(s);
    Gradients want(s), plain = plain_gradients(p), first(s);
    Reference reference;
    run(reference, p.backward(want.experts, want.mix));
    on_devices([&](Device& device, const std::string& name, bool is_first) {
      Gradients got(s);
      run_op(device, p.backward(got.experts, got.mix));
      const std::string at = s.text() + ", " + name;
      EXPECT(within(error(got.experts, want.experts), error(plain.experts, want.experts)), "dexperts: " + at);
      EXPECT(within(error(got.mix, want.mix), error(plain.mix, want.mix)), "dmix: " + at);
      if (is_first) first = got;
      EXPECT(same_bits(got.experts, first.experts) && same_bits(got.mix, first.mix), "the same bits with any number or order of threads: " + at);
    });
  }
}

// A long inner product, of terms that a single f32 sum would round off one by one, is exact.
TEST(project_gradient_of_a_large_basis) {
  const Shape s{1, 1, 1, 1, 1024, 1200};
  Projection p(s);
  p.experts = {1}, p.mix = {1}, p.scale = 1;
  float plain = 0;
  for (size_t i = 0; i < p.basis.size(); ++i) p.basis[i] = 1 + static_cast<float>(i % 3) * 0x1p-9f, p.dweights[i] = 1, plain += p.basis[i];
  const float want = 1228800 + 409600 * 3 * 0x1p-9f;
  EXPECT(std::abs(plain - want) > 100, "one sum would not do");
  on_cpus([&](Cpu& device, const std::string& name, bool) {  // it would take the emulator a minute
    std::vector<float> dexperts{0}, dmix{0};
    run_op(device, p.backward(dexperts, dmix));
    EXPECT(dmix[0] == want && dexperts[0] == want, name + ": " + std::to_string(dmix[0]));
  });
}

TEST(project_gradient_against_differences) {
  const Shape s{3, 2, 4, 5, 3, 4};
  Projection p(s);
  const auto loss = [&] { return dot(reference_weights(p).weights, p.dweights); };
  std::vector<float> dexperts(p.experts.size()), dmix(p.mix.size());
  Reference reference;
  run(reference, p.backward(dexperts, dmix));
  EXPECT(error(dexperts, finite_differences(p.experts, loss)) < 1e-4, "dexperts");
  EXPECT(error(dmix, finite_differences(p.mix, loss)) < 1e-4, "dmix");
}

TEST(project_shows_what_is_not_a_number) {
  const Shape s{3, 2, 5, 4, 29, 31};
  for (const int32_t bad : {-1, 3, INT32_MAX, INT32_MIN}) {
    Projection p(s);
    p.ids = {0, 1, bad, 2};
    on_devices([&](Device& device, const std::string& name, bool) {
      Operand coefficients(Type::f32, {s.groups, s.h}), weights(Type::f32, {s.groups, s.inputs, s.outputs});
      run_op(device, p.forward(coefficients.tensor(), weights.tensor()));
      const auto values = weights.values();
      for (size_t i = 0; i < values.size(); ++i) EXPECT(std::isnan(values[i]) == (static_cast<int64_t>(i) / s.size() == 2), name + ": a group without an expert is NaN, the others are not");
      std::vector<float> dexperts(6), dmix(10);
      run_op(device, p.backward(dexperts, dmix));
      for (float x : dexperts) EXPECT(std::isfinite(x), name + ": dexperts of the others");
      for (float x : dmix) EXPECT(std::isnan(x), name + ": dmix shows it");
    });
  }
  Projection p(s);
  p.basis[static_cast<size_t>(2 * s.size() + s.size() - 1)] = NAN;  // of matrix 2, the last
  on_devices([&](Device& device, const std::string& name, bool) {
    Operand coefficients(Type::f32, {s.groups, s.h}), weights(Type::bf16, {s.groups, s.inputs, s.outputs});
    run_op(device, p.forward(coefficients.tensor(), weights.tensor()));
    const auto values = weights.values();
    for (size_t i = 0; i < values.size(); ++i) EXPECT(std::isnan(values[i]) == (static_cast<int64_t>(i) % s.size() == s.size() - 1), name + ": one element of the basis");
    std::vector<float> dexperts(6), dmix(10);
    run_op(device, p.backward(dexperts, dmix));
    for (size_t i = 0; i < dmix.size(); ++i) EXPECT(std::isnan(dmix[i]) == (i % 5 == 2), name + ": dmix of that matrix");
  });
}

TEST(project_refuses) {
  Projection p({3, 2, 5, 4, 6, 7});
  Operand coefficients(Type::f32, {4, 5}), weights(Type::f32, {4, 6, 7}), other(Type::f32, {4, 7, 6}), halves(Type::bf16, {3, 2});
  const Project good = p.forward(coefficients.tensor(), weights.tensor());
  good.check();
  Project bad = good;
  bad.weights = {other.tensor()};
  EXPECT(refuses(bad, "weights must have the shape"), "weights transposed");
  bad = good, bad.mix = {f32(p.mix, {5, 2})};
  EXPECT(refuses(bad, "mix must be"), "mix transposed");
  bad = good, bad.experts = {halves.tensor()};
  EXPECT(refuses(bad, "experts must be f32"), "bf16 experts");
  bad = good, bad.basis = {f32(p.basis, {5, 42})};
  EXPECT(refuses(bad, "basis must be"), "a flat basis");
  bad = good, bad.coefficients = {f32(p.mix, {2, 5})};
  EXPECT(refuses(bad, "coefficients must be"), "coefficients of other groups");
  std::vector<float> dexperts(6), dmix(10);
  ProjectGradient gradient = p.backward(dexperts, dmix);
  gradient.check();
  gradient.dmix = {f32(dexperts, {3, 2})};
  EXPECT(refuses(gradient, "dmix must be"), "dmix of another shape");
  gradient = p.backward(dexperts, dmix), gradient.dweights = {other.tensor()};
  EXPECT(refuses(gradient, "dweights must be"), "dweights transposed");
}
