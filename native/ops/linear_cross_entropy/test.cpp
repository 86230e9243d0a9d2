// linear_cross_entropy and its gradient: both types against the double reference, tokens that do not count, finite differences, threads, NaN.
#include "ops/linear_cross_entropy/linear_cross_entropy.h"

#include "ops/linear_cross_entropy/output_layer_test.h"
#include "test/devices.h"
#include "test/gradient.h"

using namespace nichelm;
using namespace nichelm::test;

namespace {

using Shape = OutputLayerShape;
using Problem = OutputLayerProblem;
using Result = OutputLayerResult;

const Shape kShapes[] = {{1, 1, 1, 5}, {1, 7, 3, 5}, {5, 16, 17, 4}, {67, 24, 101, 3}, {37, 12, 2600, 5}, {700, 8, 33, 5}, {531, 8, 33, 2}, {10, 9, 11, 0}};

// A device of type f32, or the oracle.
template <class Run> Result in_f32(Problem p, const Run& run_it) {
  Result r(p);
  run_it(LinearCrossEntropyGradient{{f32(p.x, p.rows())}, {f32(p.weight, p.table())}, {i32(p.targets, {p.s.tokens})}, {f32(p.token_weights, {p.s.tokens})}, {f32(r.nll, {p.s.tokens})},
                                    {tensor(&r.loss, Type::f32, {1})}, {f32(r.dx, p.rows())}, {f32(r.dweight, p.table())}});
  return r;
}

Result oracle(const Problem& p) {
  Reference reference;
  return in_f32(p, [&](const LinearCrossEntropyGradient& op) { run(reference, op); });
}

Result kernel(Device& device, Problem p, Type type) {
  Result r(p);
  Operand x(type, p.rows(), p.x), weight(type, p.table(), p.weight), dx(type, p.rows());
  run_op(device, LinearCrossEntropyGradient{{x.tensor()}, {weight.tensor()}, {i32(p.targets, {p.s.tokens})}, {f32(p.token_weights, {p.s.tokens})}, {f32(r.nll, {p.s.tokens})},
                                         {tensor(&r.loss, Type::f32, {1})}, {dx.tensor()}, {f32(r.dweight, p.table())}});
  r.dx = dx.values();
  return r;
}

Result kernel_forward(Device& device, Problem p, Type type) {
  Result r(p);
  Operand x(type, p.rows(), p.x), weight(type, p.table(), p.weight);
  run_op(device, LinearCrossEntropy{{x.tensor()}, {weight.tensor()}, {i32(p.targets, {p.s.tokens})}, {f32(p.token_weights, {p.s.tokens})}, {f32(r.nll, {p.s.tokens})}, {tensor(&r.loss, Type::f32, {1})}});
  return r;
}

Result plain(const Problem& p, Type type) {
  return plain_output_layer(p, type, [&](size_t n, const std::vector<float>& logits, std::vector<float>& slopes) {
    float largest = -INFINITY, total = 0;
    for (float logit : logits) largest = std::fmax(largest, logit);
    for (float logit : logits) total += std::exp(logit - largest);
    const size_t target = static_cast<size_t>(p.targets[n]);
    for (size_t v = 0; v < logits.size(); ++v) slopes[v] = std::exp(logits[v] - largest) / total - (v == target);
    const float nll = std::log(total) + largest - logits[target];
    return TokenLossInFloat{nll, nll};
  });
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
        const std::string at = p.text(name, type);
        expect_within(got, want, loop, at);
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
      Result r(p);
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
      Result r(p);
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
