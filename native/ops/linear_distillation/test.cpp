// linear_distillation and its gradient: both types and both forms of the teacher against the double reference, finite differences, the forms against
// each other, the lumped rest by its formula, far logits, tokens that do not count, threads, NaN.
#include "ops/linear_distillation/linear_distillation.h"

#include "ops/linear_cross_entropy/linear_cross_entropy.h"
#include "ops/linear_cross_entropy/output_layer_test.h"
#include "test/devices.h"
#include "test/gradient.h"

using namespace nichelm;
using namespace nichelm::test;

namespace {

using Result = OutputLayerResult;

// counting: as of OutputLayerShape. k: 0 where the teacher gives its logits.
struct Shape { int64_t tokens, width, vocabulary, k; int counting; float alpha, temperature; };
const Shape kShapes[] = {{1, 1, 1, 0, 5, 0.5f, 2},        {1, 7, 3, 2, 5, 0.5f, 1},        {5, 16, 17, 0, 4, 1, 1},       {67, 24, 101, 0, 3, 0.9f, 2},      {67, 24, 101, 7, 3, 0.9f, 2},
                         {37, 12, 2600, 0, 5, 0.3f, 0.7f}, {37, 12, 2600, 64, 5, 0.3f, 1.5f}, {700, 8, 33, 32, 5, 0.5f, 3}, {531, 8, 33, 33, 2, 0.5f, 1}, {531, 8, 33, 0, 2, 0, 4}, {10, 9, 11, 3, 0, 0.5f, 1}};

std::vector<float> softmax(const float* logits, int64_t size, double temperature) {
  double largest = -INFINITY, total = 0;
  for (int64_t v = 0; v < size; ++v) largest = std::max(largest, double{logits[v]});
  std::vector<double> p;
  for (int64_t v = 0; v < size; ++v) p.push_back(std::exp((logits[v] - largest) / temperature)), total += p.back();
  std::vector<float> rounded;
  for (double e : p) rounded.push_back(static_cast<float>(e / total));
  return rounded;
}

struct Problem : OutputLayerProblem {
  int64_t k;
  float alpha, temperature;
  std::vector<float> teacher, probabilities;
  std::vector<int32_t> ids;
  Problem(Shape shape, Type type)
      : OutputLayerProblem({shape.tokens, shape.width, shape.vocabulary, shape.counting}, type), k(shape.k), alpha(shape.alpha), temperature(shape.temperature), teacher(normal(s.tokens * s.vocabulary, 4, 2)) {
    for (int64_t n = 0; n < s.tokens; ++n)
      if (!counts(n)) std::fill_n(teacher.begin() + n * s.vocabulary, s.vocabulary, NAN);  // not to be read
    pick();
  }
  // The teacher's k most probable tokens, in a mixed order.
  void pick() {
    ids.clear(), probabilities.clear();
    if (!k) return;
    for (int64_t n = 0; n < s.tokens; ++n) {
      if (!counts(n)) {
        ids.insert(ids.end(), static_cast<size_t>(k), -1), probabilities.insert(probabilities.end(), static_cast<size_t>(k), NAN);
        continue;
      }
      const float* t = teacher.data() + n * s.vocabulary;
      const std::vector<float> q = softmax(t, s.vocabulary, temperature);
      std::vector<int32_t> order;
      for (int64_t v = 0; v < s.vocabulary; ++v) order.push_back(static_cast<int32_t>(v));
      std::sort(order.begin(), order.end(), [&](int32_t a, int32_t b) { return t[a] > t[b]; });
      order.resize(static_cast<size_t>(k));
      std::sort(order.begin(), order.end(), [](int32_t a, int32_t b) { return a * 37 % 101 < b * 37 % 101; });
      for (int32_t id : order) ids.push_back(id), probabilities.push_back(q[static_cast<size_t>(id)]);
    }
  }
  template <class Op> void give(Op& op) {
    if (k) op.ids = {i32(ids, {s.tokens, k})}, op.probabilities = {f32(probabilities, {s.tokens, k})};
    else op.teacher = {f32(teacher, {s.tokens, s.vocabulary})};
    op.alpha = alpha, op.temperature = temperature;
  }
};

template <class Run> Result in_f32(Problem p, const Run& run_it) {
  Result r(p);
  LinearDistillationGradient op{{f32(p.x, p.rows())}, {f32(p.weight, p.table())}, {i32(p.targets, {p.s.tokens})}, {f32(p.token_weights, {p.s.tokens})}, {}, {}, {}, {f32(r.nll, {p.s.tokens})},
                                {tensor(&r.loss, Type::f32, {1})}, {f32(r.dx, p.rows())}, {f32(r.dweight, p.table())}, 0, 1};
  p.give(op);
  run_it(op);
  return r;
}

Result oracle(const Problem& p) {
  Reference reference;
  return in_f32(p, [&](const LinearDistillationGradient& op) { run(reference, op); });
}

Result kernel(Device& device, Problem p, Type type, bool frozen = false) {
  Result r(p);
  Operand x(type, p.rows(), p.x), weight(type, p.table(), p.weight), dx(type, p.rows());
  LinearDistillationGradient op{{x.tensor()}, {weight.tensor()}, {i32(p.targets, {p.s.tokens})}, {f32(p.token_weights, {p.s.tokens})}, {}, {}, {}, {f32(r.nll, {p.s.tokens})},
                                {tensor(&r.loss, Type::f32, {1})}, {dx.tensor()}, {}, 0, 1};
  if (!frozen) op.dweight = {f32(r.dweight, p.table())};
  p.give(op);
  run_op(device, op);
  r.dx = dx.values();
  return r;
}

Result kernel_forward(Device& device, Problem p, Type type) {
  Result r(p);
  Operand x(type, p.rows(), p.x), weight(type, p.table(), p.weight);
  LinearDistillation op{{x.tensor()}, {weight.tensor()}, {i32(p.targets, {p.s.tokens})}, {f32(p.token_weights, {p.s.tokens})}, {}, {}, {}, {f32(r.nll, {p.s.tokens})}, {tensor(&r.loss, Type::f32, {1})}, 0, 1};
  p.give(op);
  run_op(device, op);
  return r;
}

// p and its logarithm in f32.
std::vector<float> plain_log_softmax(const float* logits, size_t size, float temperature) {
  float largest = -INFINITY, total = 0;
  for (size_t v = 0; v < size; ++v) largest = std::fmax(largest, logits[v] / temperature);
  for (size_t v = 0; v < size; ++v) total += std::exp(logits[v] / temperature - largest);
  std::vector<float> log_p;
  for (size_t v = 0; v < size; ++v) log_p.push_back(logits[v] / temperature - largest - std::log(total));
  return log_p;
}

Result plain(const Problem& p, Type type) {
  const size_t vocabulary = static_cast<size_t>(p.s.vocabulary), k = static_cast<size_t>(p.k);
  const float alpha = p.alpha, temperature = p.temperature;
  return plain_output_layer(p, type, [&](size_t n, const std::vector<float>& logits, std::vector<float>& slopes) {
    std::vector<float> q(vocabulary, -1);
    const auto hard = plain_log_softmax(logits.data(), vocabulary, 1), soft = plain_log_softmax(logits.data(), vocabulary, temperature);
    float known = 0, rest = 0, divergence = 0;
    if (k)
      for (size_t j = 0; j < k; ++j) known += q[static_cast<size_t>(p.ids[n * k + j])] = p.probabilities[n * k + j];
    else {
      q = plain_log_softmax(p.teacher.data() + n * vocabulary, vocabulary, temperature);
      for (float& v : q) known += v = std::exp(v);
    }
    const bool whole = !k || k == vocabulary || known > 1;
    const float missing = whole ? 0 : 1 - known;
    for (size_t v = 0; v < vocabulary; ++v) rest += q[v] < 0 ? std::exp(soft[v]) : 0;
    for (size_t v = 0; v < vocabulary; ++v) {
      if (q[v] >= 0 && whole) q[v] /= known;
      if (q[v] > 0) divergence += q[v] * (std::log(q[v]) - soft[v]);
      const float g = q[v] >= 0 ? std::exp(soft[v]) - q[v] : std::exp(soft[v]) * (1 - missing / rest);
      slopes[v] = (1 - alpha) * (std::exp(hard[v]) - (v == static_cast<size_t>(p.targets[n]))) + alpha * temperature * g;
    }
    if (missing > 0) divergence += missing * (std::log(missing) - std::log(rest));
    const float nll = -hard[static_cast<size_t>(p.targets[n])];
    return TokenLossInFloat{nll, (1 - alpha) * nll + alpha * temperature * temperature * divergence};
  });
}

}  // namespace

TEST(linear_distillation_against_reference) {
  for (Type type : {Type::f32, Type::bf16})
    for (Shape s : kShapes) {
      const Problem p(s, type);
      const Result want = oracle(p), loop = plain(p, type);
      Result first;
      on_devices([&](Device& device, const std::string& name, bool is_first) {
        if (device.emulated() && s.tokens > 100) return;  // more of the same blocks
        const Result got = kernel(device, p, type), forward = kernel_forward(device, p, type), frozen = kernel(device, p, type, true);
        const std::string at = p.text(name, type) + ", k " + std::to_string(s.k);
        expect_within(got, want, loop, at);
        EXPECT(same_bits(forward.nll, got.nll) && same_bits({forward.loss}, {got.loss}), "the forward alone gives the same bits: " + at);
        EXPECT(same_bits(frozen.dx, got.dx) && same_bits(frozen.dweight, p.dweight), "a frozen weight: " + at);
        if (is_first) first = got;
        EXPECT(same(got, first), "the same bits with any number of threads: " + at);
      });
    }
}

TEST(linear_distillation_gradient_by_finite_differences) {
  for (const auto& [k, alpha, temperature] : {std::tuple{0, 0.6f, 2.0f}, {0, 1.0f, 0.8f}, {3, 0.6f, 2.0f}, {6, 0.6f, 1.0f}}) {
    Problem p({7, 5, 6, k, 4, alpha, temperature}, Type::f32);
    p.dweight.assign(p.weight.size(), 0);
    const Result got = oracle(p);
    const auto loss = [&] { return double{oracle(p).loss}; };
    EXPECT(error(got.dx, finite_differences(p.x, loss, 3e-2f)) < 1e-3, "dx, k " + std::to_string(k));
    EXPECT(error(got.dweight, finite_differences(p.weight, loss, 3e-2f)) < 1e-3, "dweight, k " + std::to_string(k));
  }
}

TEST(linear_distillation_without_a_share_is_cross_entropy) {
  on_devices([&](Device& device, const std::string& name, bool) {
    Problem p({67, 24, 101, 0, 3, 0, 2}, Type::f32);
    const Result got = kernel(device, p, Type::f32);
    Result r(p);
    run_op(device, LinearCrossEntropyGradient{{f32(p.x, p.rows())}, {f32(p.weight, p.table())}, {i32(p.targets, {67})}, {f32(p.token_weights, {67})}, {f32(r.nll, {67})}, {tensor(&r.loss, Type::f32, {1})},
                                           {f32(r.dx, p.rows())}, {f32(r.dweight, p.table())}});
    EXPECT(same_bits(got.nll, r.nll) && error({got.loss}, {r.loss}) < 1e-7 && error(got.dx, r.dx) < 1e-6 && error(got.dweight, r.dweight) < 1e-6, name);
  });
}

TEST(linear_distillation_of_all_tokens_is_that_of_logits) {
  on_devices([&](Device& device, const std::string& name, bool) {
    const Problem all({67, 24, 101, 101, 3, 0.7f, 2}, Type::f32);
    Problem logits = all;
    logits.k = 0;
    const Result a = kernel(device, all, Type::f32), b = kernel(device, logits, Type::f32);
    EXPECT(error({a.loss}, {b.loss}) < 1e-6 && error(a.dx, b.dx) < 1e-5 && error(a.dweight, b.dweight) < 1e-5 && same_bits(a.nll, b.nll), name);
  });
}

TEST(linear_distillation_lumps_the_rest) {  // one token, logits 0: p = 1/4 each; q = 0.5, and 0.3 as another token's or as the rest's
  on_devices([&](Device& device, const std::string& name, bool) {
    const auto loss_of = [&](std::vector<int32_t> ids, std::vector<float> q) {
      std::vector<float> x(1), weight(4, 1), one(1, 1), nll(1), loss(1), dx(1);
      std::vector<int32_t> target(1);
      const int64_t k = static_cast<int64_t>(ids.size());
      run_op(device, LinearDistillationGradient{{f32(x, {1, 1})}, {f32(weight, {4, 1})}, {i32(target, {1})}, {f32(one, {1})}, {}, {i32(ids, {1, k})}, {f32(q, {1, k})}, {f32(nll, {1})}, {f32(loss, {1})}, {f32(dx, {1, 1})}, {}, 1, 1});
      return double{loss[0]};
    };
    const auto near = [](double a, double b) { return std::abs(a - b) < 1e-6; };
    EXPECT(near(loss_of({2}, {0.7f}), 0.7 * std::log(0.7 / 0.25) + 0.3 * std::log(0.3 / 0.75)), "the rest of three tokens: " + name);
    EXPECT(near(loss_of({2, 0, 3}, {0.7f, 0.2f, 0}), 0.7 * std::log(0.7 / 0.25) + 0.2 * std::log(0.2 / 0.25) + 0.1 * std::log(0.1 / 0.25)), "a rest of one token, and a known 0: " + name);
    EXPECT(near(loss_of({1, 3}, {0.75f, 0.25f}), 0.75 * std::log(0.75 / 0.25)), "nothing left for the rest: " + name);
    EXPECT(near(loss_of({1, 3}, {0.9f, 0.3f}), 0.75 * std::log(0.75 / 0.25)), "more than 1 is divided by the sum: " + name);
    EXPECT(near(loss_of({0, 1, 2, 3}, {0.3f, 0.1f, 0.05f, 0.05f}), 0.6 * std::log(0.6 / 0.25) + 0.2 * std::log(0.2 / 0.25) + 0.2 * std::log(0.1 / 0.25)), "all tokens, less than 1: " + name);
  });
}

TEST(linear_distillation_far_logits) {  // beyond what exp can take, either way, known and lumped
  on_devices([&](Device& device, const std::string& name, bool) {
    for (int64_t k : {0, 3, 20}) {
      Problem p({6, 4, 21, k, 5, 0.5f, 1.5f}, Type::f32);
      for (float& v : p.x) v *= 100;
      for (float& v : p.teacher) v *= 30;
      p.pick();
      const Result want = oracle(p), got = kernel(device, p, Type::f32);
      EXPECT(error(got.nll, want.nll) < 1e-6 && error(got.dx, want.dx) < 1e-4 && error({got.loss}, {want.loss}) < 1e-6, name + ", k " + std::to_string(k));
    }
  });
}

TEST(linear_distillation_in_place) {  // dx where x is
  on_devices([&](Device& device, const std::string& name, bool) {
    for (int counting : {5, 3}) {
      Problem p({23, 6, 19, 4, counting, 0.5f, 2}, Type::f32);
      const Result apart = kernel(device, p, Type::f32);
      Result r(p);
      LinearDistillationGradient op{{f32(p.x, p.rows())}, {f32(p.weight, p.table())}, {i32(p.targets, {23})}, {f32(p.token_weights, {23})}, {}, {}, {}, {f32(r.nll, {23})},
                                    {tensor(&r.loss, Type::f32, {1})}, {f32(p.x, p.rows())}, {f32(r.dweight, p.table())}, 0, 1};
      p.give(op);
      run_op(device, op);
      r.dx = p.x;
      EXPECT(same(r, apart), name);
    }
  });
}

TEST(linear_distillation_nan_is_seen) {
  on_devices([&](Device& device, const std::string& name, bool) {
    for (Type type : {Type::f32, Type::bf16})
      for (int64_t k : {0, 4}) {
        const std::string at = name + ", k " + std::to_string(k);
        const Problem good({11, 6, 37, k, 3, 0.5f, 2}, type);
        const auto lost = [&](const Problem& p, size_t token) {
          const Result got = kernel(device, p, type);
          return std::isnan(got.loss) && std::isnan(got.dx[token * 6]) && std::isnan(kernel_forward(device, p, type).loss) && std::isfinite(got.dx[5 * 6]);
        };
        Problem p = good;
        p.x[0] = NAN;
        EXPECT(lost(p, 0), "in x: " + at);
        p = good;
        (k ? p.probabilities[static_cast<size_t>(k) - 1] : p.teacher[20]) = NAN;
        EXPECT(lost(p, 0), "in the teacher: " + at);
        p = good;
        p.targets[3] = 37;
        EXPECT(lost(p, 3), "a target outside the vocabulary: " + at);
        if (k) {
          p = good;
          p.ids[static_cast<size_t>(3 * k)] = -1;
          EXPECT(lost(p, 3), "an id outside the vocabulary: " + at);
        }
        p = good;
        p.x[2 * 6] = NAN;  // a token that does not count
        EXPECT(p.token_weights[2] == 0 && std::isfinite(kernel(device, p, type).loss), "in a token of weight 0: " + at);
      }
  });
}

TEST(linear_distillation_refuses) {
  Problem p({4, 5, 3, 2, 5, 0.5f, 2}, Type::f32);
  std::vector<float> nll(4), loss(1);
  LinearDistillation good{{f32(p.x, {4, 5})}, {f32(p.weight, {3, 5})}, {i32(p.targets, {4})}, {f32(p.token_weights, {4})}, {}, {}, {}, {f32(nll, {4})}, {f32(loss, {1})}, 0, 1};
  EXPECT(refuses(good, "either teacher or ids"), "no teacher");
  p.give(good);
  good.check();
  LinearDistillation bad = good;
  bad.teacher = {f32(p.teacher, {4, 3})};
  EXPECT(refuses(bad, "either teacher or ids"), "two teachers");
  bad = good, bad.probabilities = {};
  EXPECT(refuses(bad, "either teacher or ids"), "ids alone");
  bad = good, bad.ids = {i32(p.ids, {2, 4})}, bad.probabilities = {f32(p.probabilities, {2, 4})};
  EXPECT(refuses(bad, "k in [1, vocabulary]"), "more ids than tokens there are");
  bad = good, bad.probabilities = {f32(p.probabilities, {4, 1})};
  EXPECT(refuses(bad, "shape of ids"), "short probabilities");
  bad = good, bad.alpha = 1.5f;
  EXPECT(refuses(bad, "alpha"), "alpha above 1");
  bad = good, bad.temperature = 0;
  EXPECT(refuses(bad, "temperature"), "temperature 0");
  bad = good, bad.weight = {f32(p.weight, {5, 3})};
  EXPECT(refuses(bad, "linear_distillation: weight must have the shape"), "a transposed weight");
  LinearDistillationGradient gradient{good.x, good.weight, good.targets, good.token_weights, good.teacher, good.ids, good.probabilities, good.nll, good.loss, {f32(p.x, {4, 5})}, {f32(p.dweight, {2, 5})}, 0.5f, 2};
  EXPECT(refuses(gradient, "dweight"), "a short dweight");
}
