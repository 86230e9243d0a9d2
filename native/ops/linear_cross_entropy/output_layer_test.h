// What the tests of the output layer's losses share: problems in which some tokens do not count, results, and a plain loop in f32 (reference.h has it in double).
#pragma once
#include <cmath>
#include <string>

#include "test/operand.h"
#include "test/test.h"

namespace nichelm::test {

// counting: of every five tokens, how many have a weight that is not 0.
struct OutputLayerShape {
  int64_t tokens, width, vocabulary;
  int counting;
};

struct OutputLayerProblem {
  OutputLayerShape s;
  std::vector<float> x, weight, token_weights, dweight;
  std::vector<int32_t> targets;

  OutputLayerProblem(OutputLayerShape shape, Type type)
      : s(shape), x(as_type(normal(s.tokens * s.width, 1), type)), weight(as_type(normal(s.vocabulary * s.width, 2, 0.5f), type)), dweight(normal(s.vocabulary * s.width, 3, 0.1f)) {
    for (int64_t n = 0; n < s.tokens; ++n) {
      const bool counts = n * 2 % 5 < s.counting;
      token_weights.push_back(counts ? (1 + 0.25f * static_cast<float>(n % 3)) / static_cast<float>(s.tokens) : 0);
      targets.push_back(counts ? static_cast<int32_t>(n * 7919 % s.vocabulary) : -12345);  // not to be read
    }
  }
  bool counts(int64_t token) const { return token_weights[static_cast<size_t>(token)] != 0; }
  std::vector<int64_t> rows() const { return {s.tokens, s.width}; }
  std::vector<int64_t> table() const { return {s.vocabulary, s.width}; }
  std::string text(const std::string& on, Type type) const {
    return on + ", " + std::to_string(s.tokens) + " x " + std::to_string(s.width) + " of " + std::to_string(s.vocabulary) + ", " + std::to_string(s.counting) + "/5 count, " + name_of(type);
  }
};

struct OutputLayerResult {
  std::vector<float> nll, dx, dweight;
  float loss = NAN;

  // Poisoned, but for dweight, which is added to.
  explicit OutputLayerResult(const OutputLayerProblem& p) : nll(static_cast<size_t>(p.s.tokens), NAN), dx(p.x.size(), NAN), dweight(p.dweight) {}
  OutputLayerResult() = default;
};

inline bool same(const OutputLayerResult& a, const OutputLayerResult& b) {
  return same_bits(a.nll, b.nll) && same_bits(a.dx, b.dx) && same_bits(a.dweight, b.dweight) && same_bits({a.loss}, {b.loss});
}

struct TokenLossInFloat { float nll, loss; };

// The formulas in f32, dlogits rounded to the type. token(n, logits, slopes) gives the losses of a token that counts, and fills in the gradient of its loss by its logits.
template <class Token> OutputLayerResult plain_output_layer(const OutputLayerProblem& p, Type type, const Token& token) {
  OutputLayerResult r(p);
  r.loss = 0;
  const size_t width = static_cast<size_t>(p.s.width), vocabulary = static_cast<size_t>(p.s.vocabulary);
  for (size_t n = 0; n < p.x.size() / width; ++n) {
    const float counts = p.token_weights[n];
    r.nll[n] = 0;
    for (size_t i = 0; i < width; ++i) r.dx[n * width + i] = 0;
    if (counts == 0) continue;
    std::vector<float> logits(vocabulary), d(vocabulary);
    for (size_t v = 0; v < vocabulary; ++v)
      for (size_t i = 0; i < width; ++i) logits[v] += p.x[n * width + i] * p.weight[v * width + i];
    const TokenLossInFloat of_token = token(n, logits, d);
    r.nll[n] = of_token.nll;
    r.loss += counts * of_token.loss;
    for (float& slope : d) slope *= counts;
    d = as_type(d, type);
    for (size_t v = 0; v < vocabulary; ++v)
      for (size_t i = 0; i < width; ++i) r.dx[n * width + i] += d[v] * p.weight[v * width + i], r.dweight[v * width + i] += d[v] * p.x[n * width + i];
  }
  r.dx = as_type(r.dx, type);
  return r;
}

// What a kernel found against the oracle's, by the errors of the plain loop.
inline void expect_within(const OutputLayerResult& got, const OutputLayerResult& want, const OutputLayerResult& loop, const std::string& at) {
  EXPECT(within(error(got.nll, want.nll), error(loop.nll, want.nll)), "nll: " + at);
  EXPECT(within(error({got.loss}, {want.loss}), error({loop.loss}, {want.loss})), "loss: " + at);
  EXPECT(within(error(got.dx, want.dx), error(loop.dx, want.dx)), "dx: " + at);
  EXPECT(within(error(got.dweight, want.dweight), error(loop.dweight, want.dweight)), "dweight: " + at);
}

}  // namespace nichelm::test
