// linear_cross_entropy and its gradient: both types against the double reference, tokens that do not count, finite differences, threads, NaN.
#include "ops/linear_cross_entropy/linear_cross_entropy.h"

#include "test/devices.h"
#include "test/gradient.h"
#include "test/operand.h"

using namespace nichelm;
using namespace nichelm::test;

namespace {

// counting: of every five tokens, how many have a weight that is not 0.
struct Shape { int64_t tokens, width, vocabulary; int counting; };
const Shape kShapes[] = {{1, 1, 1, 5}, {1, 7, 3, 5}, {5, 16, 17, 4}, {67, 24, 101, 3}, {37, 12, 2600, 5}, {700, 8, 33, 5}, {531, 8, 33, 2}, {10, 9, 11, 0}};

struct Problem {
  Shape s;
  std::vector<float> x, weight, token_weights, dweight;
  std::vector<int32_t> targets;
  Problem(Shape shape, Type type)
      : s(shape), x(as_type(normal(s.tokens * s.width, 1), type)), weight(as_type(normal(s.vocabulary * s.width, 2, 0.5f), type)), dweight(normal(s.vocabulary * s.width, 3, 0.1f)) {
    for (int64_t n = 0; n < s.tokens; ++n) {
      const bool counts = n * 2 % 5 < s.counting;
      token_weights.push_back(counts ? (1 + 0.25f * static_cast<float>(n % 3)) / static_cast<float>(s.tokens) : 0);
      targets.push_back(counts ? static_cast<int32_t>(n * 7919 % s.vocabulary) : -12345);  // not to be read
    }
  }
  std::vector<int64_t> rows() const { return {s.tokens, s.width}; }
  std::vector<int64_t> table() const { return {s.vocabulary, s.width}; }
};

struct Result {
  std::vector<float> nll, dx, dweight;
  float loss = NAN;
};

Result poisoned(const Problem& p) {
  Result r;
  r.nll.assign(static_cast<size_t>(p.s.tokens), NAN), r.dx.assign(p.x.size(), NAN), r.dweight = p.dweight;
  return r;
}

// A device of type f32, or the oracle.
template <class Run> Result in_f32(Problem p, const Run& run_it) {
  Result r = poisoned(p);
  run_it(LinearCrossEntropyGradient{{f32(p.x, p.rows())}, {f32(p.weight, p.table())}, {i32(p.targets, {p.s.tokens})}, {f32(p.token_weights, {p.s.tokens})}, {f32(r.nll, {p.s.tokens})},
                                    {tensor(&r.loss, Type::f32, {1})}, {f32(r.dx, p.rows())}, {f32(r.dweight, p.table())}});
  return r;
}

Result oracle(const Problem& p) {
  Reference reference;
  return in_f32(p, [&](const LinearCrossEntropyGradient& op) { run(reference, op); });
}

Result kernel(Device& device, Problem p, Type type) {
  Result r = poisoned(p);
  Operand x(type, p.rows(), p.x), weight(type, p.table(), p.weight), dx(type, p.rows());
  run_op(device, LinearCrossEntropyGradient{{x.tensor()}, {weight.tensor()}, {i32(p.targets, {p.s.tokens})}, {f32(p.token_weights, {p.s.tokens})}, {f32(r.nll, {p.s.tokens})},
                                         {tensor(&r.loss, Type::f32, {1})}, {dx.tensor()}, {f32(r.dweight, p.table())}});
  r.dx = dx.values();
  return r;
}

Result kernel_forward(Device& device, Problem p, Type type) {
  Result r = poisoned(p);
  Operand x(type, p.rows(), p.x), weight(type, p.table(), p.weight);
  run_op(device, LinearCrossEntropy{{x.tensor()}, {weight.tensor()}, {i32(p.targets, {p.s.tokens})}, {f32(p.token_weights, {p.s.tokens})}, {f32(r.nll, {p.s.tokens})}, {tensor(&r.loss, Type::f32, {1})}});
  return r;
}

Result plain(const Problem& p, Type type) {  // the formulas in f32; dlogits rounded to the type
  Result r = poisoned(p);
  r.loss = 0;
  const size_t width = static_cast<size_t>(p.s.width), vocabulary = static_cast<size_t>(p.s.vocabulary);
  for (size_t n = 0; n < p.x.size() / width; ++n) {
    const float counts = p.token_weights[n];
    r.nll[n] = 0;
    for (size_t i = 0; i < width; ++i) r.dx[n * width + i] = 0;
    if (counts == 0) continue;
    std::vector<float> logits(vocabulary);
    float largest = -INFINITY, total = 0;
    for (size_t v = 0; v < vocabulary; ++v) {
      for (size_t i = 0; i < width; ++i) logits[v] += p.x[n * width + i] * p.weight[v * width + i];
      largest = std::fmax(largest, logits[v]);
    }
    for (float logit : logits) total += std::exp(logit - largest);
    const size_t target = static_cast<size_t>(p.targets[n]);
    r.nll[n] = std::log(total) + largest - logits[target];
    r.loss += counts * r.nll[n];
    std::vector<float> d(vocabulary);
    for (size_t v = 0; v < vocabulary; ++v) d[v] = counts * (std::exp(logits[v] - largest) / total - (v == target));
    d = as_type(d, type);
    for (size_t v = 0; v < vocabulary; ++v)
      for (size_t i = 0; i < width; ++i) r.dx[n * width + i] += d[v] * p.weight[v * width + i], r.dweight[v * width + i] += d[v] * p.x[n * width + i];
  }
  r.dx = as_type(r.dx, type);
  return r;
}

bool same(const Result& a, const Result& b) { return same_bits(a.nll, b.nll) && same_bits(a.dx, b.dx) && same_bits(a.dweight, b.dweight) && same_bits({a.loss}, {b.loss}); }

std::string place(const std::string& name, Shape s, Type type) {
  return name + ", " + std::to_string(s.tokens) + " x " + std::to_string(s.width) + " of " + std::to_string(s.vocabulary) + ", " + std::to_string(s.counting) + "/5 count, " + name_of(type);
}

}  // namespace

TEST(linear_cross_entropy_against_reference) {
  for (Type type : {Type::f32, Type::bf16})
    for (Shape s : kShapes) {
      const Problem p(s, type);
      const Result want = oracle(p), loop = plain(p, type);
      Result first;
      on_devices([&](Device& device, const std::string& name, bool is_first) {
        const Result got = kernel(device, p, type), forward = kernel_forward(device, p, type);
        const std::string at = place(name, s, type);
        EXPECT(within(error(got.nll, want.nll), error(loop.nll, want.nll)), "nll: " + at);
        EXPECT(within(error({got.loss}, {want.loss}), error({loop.loss}, {want.loss})), "loss: " + at);
        EXPECT(within(error(got.dx, want.dx), error(loop.dx, want.dx)), "dx: " + at);
        EXPECT(within(error(got.dweight, want.dweight), error(loop.dweight, want.dweight)), "dweight: " + at);
        EXPECT(same_bits(forward.nll, got.nll) && same_bits({forward.loss}, {got.loss}), "the forward alone gives the same bits: " + at);
        if (is_first) first = got;
        EXPECT(same(got, first), "the same bits with any number or order of threads: " + at);
      });
    }
}

TEST(linear_cross_entropy_gradient_by_finite_differences) {
  Problem p({7, 5, 6, 4}, Type::f32);
  p.dweight.assign(p.weight.size(), 0);
  const Result got = oracle(p);
  const auto loss = [&] { return double{oracle(p).loss}; };
  EXPECT(error(got.dx, finite_differences(p.x, loss, 3e-2f)) < 1e-3, "dx");
  EXPECT(error(got.dweight, finite_differences(p.weight, loss, 3e-2f)) < 1e-3, "dweight");
}

TEST(linear_cross_entropy_far_logits) {  // beyond what exp can take, either way
  on_devices([&](Device& device, const std::string& name, bool) {
    Problem p({6, 4, 21, 5}, Type::f32);
    for (float& v : p.x) v *= 1000;
    const Result want = oracle(p), got = kernel(device, p, Type::f32);
    EXPECT(error(got.nll, want.nll) < 1e-6 && error(got.dx, want.dx) < 1e-4 && error({got.loss}, {want.loss}) < 1e-6, name);
  });
}

TEST(linear_cross_entropy_in_place) {  // dx where x is
  on_devices([&](Device& device, const std::string& name, bool) {
    for (int counting : {5, 3}) {
      Problem p({23, 6, 19, counting}, Type::f32);
      const Result apart = kernel(device, p, Type::f32);
      Result r = poisoned(p);
      run_op(device, LinearCrossEntropyGradient{{f32(p.x, p.rows())}, {f32(p.weight, p.table())}, {i32(p.targets, {23})}, {f32(p.token_weights, {23})}, {f32(r.nll, {23})},
                                             {tensor(&r.loss, Type::f32, {1})}, {f32(p.x, p.rows())}, {f32(r.dweight, p.table())}});
      r.dx = p.x;
      EXPECT(same(r, apart), name);
    }
  });
}

TEST(linear_cross_entropy_gradient_of_a_frozen_weight) {
  on_devices([&](Device& device, const std::string& name, bool) {
    for (Type type : {Type::f32, Type::bf16}) {
      Problem p({67, 24, 101, 3}, type);
      const Result with = kernel(device, p, type);
      Result r = poisoned(p);
      r.dweight = with.dweight;
      Operand x(type, p.rows(), p.x), weight(type, p.table(), p.weight), dx(type, p.rows());
      run_op(device, LinearCrossEntropyGradient{{x.tensor()}, {weight.tensor()}, {i32(p.targets, {67})}, {f32(p.token_weights, {67})}, {f32(r.nll, {67})}, {tensor(&r.loss, Type::f32, {1})}, {dx.tensor()}, {}});
      r.dx = dx.values();
      EXPECT(same(r, with), name);
    }
  });
}

TEST(linear_cross_entropy_nan_is_seen) {
  on_devices([&](Device& device, const std::string& name, bool) {
    for (Type type : {Type::f32, Type::bf16}) {
      Problem p({11, 6, 37, 3}, type);
      p.x[0] = NAN;  // a token that counts
      const Result got = kernel(device, p, type);
      EXPECT(std::isnan(got.loss) && std::isnan(got.nll[0]) && std::isnan(got.dx[5]) && std::isnan(got.dweight[37 * 6 - 1]), "in a token: " + name);
      EXPECT(std::isnan(kernel_forward(device, p, type).loss), "in a token, forward: " + name);
      Problem q({11, 6, 37, 3}, type);
      q.x[2 * 6] = NAN;  // a token that does not count
      EXPECT(q.token_weights[2] == 0 && std::isfinite(kernel(device, q, type).loss), "in a token of weight 0: " + name);
      q.weight[36 * 6] = NAN;
      EXPECT(std::isnan(kernel(device, q, type).loss), "in the weight: " + name);
      Problem r({11, 6, 37, 5}, type);
      r.targets[3] = 37;
      const Result outside = kernel(device, r, type);
      EXPECT(std::isnan(outside.loss) && std::isnan(outside.nll[3]) && std::isnan(outside.dx[3 * 6]) && std::isfinite(outside.dx[2 * 6]), "a target outside the vocabulary: " + name);
    }
  });
}

TEST(linear_cross_entropy_refuses) {
  Problem p({4, 5, 3, 5}, Type::f32);
  std::vector<float> nll(4), loss(1);
  const LinearCrossEntropy good{{f32(p.x, {4, 5})}, {f32(p.weight, {3, 5})}, {i32(p.targets, {4})}, {f32(p.token_weights, {4})}, {f32(nll, {4})}, {f32(loss, {1})}};
  good.check();
  LinearCrossEntropy bad = good;
  bad.weight = {f32(p.weight, {5, 3})};
  EXPECT(refuses(bad, "weight must have the shape"), "a transposed weight");
  bad = good, bad.targets = {i32(p.targets, {3})};
  EXPECT(refuses(bad, "targets"), "short targets");
  bad = good, bad.weight.type = Type::bf16;
  EXPECT(refuses(bad, "type of x"), "mixed types");
  LinearCrossEntropyGradient gradient{{f32(p.x, {4, 5})}, {f32(p.weight, {3, 5})}, {i32(p.targets, {4})}, {f32(p.token_weights, {4})}, {f32(nll, {4})}, {f32(loss, {1})}, {f32(p.x, {4, 5})}, {f32(p.dweight, {3, 5})}};
  gradient.check();
  gradient.dweight = {f32(p.dweight, {2, 5})};
  EXPECT(refuses(gradient, "dweight"), "a short dweight");
}
