// most_probable against the double reference: odd sizes, equal logits, far logits, everything kept, threads, NaN.
#include "ops/most_probable/most_probable.h"

#include "test/devices.h"
#include "test/operand.h"

using namespace nichelm;
using namespace nichelm::test;

namespace {

struct Shape { int64_t tokens, vocabulary, k; float temperature, spread; };
const Shape kShapes[] = {{1, 1, 1, 1, 1}, {3, 2, 1, 1, 2}, {7, 17, 5, 0.5f, 2}, {5, 33, 33, 2, 2}, {9, 101, 100, 1, 3}, {6, 5003, 64, 1.5f, 4}, {4, 2600, 1, 1, 30}};

struct Result {
  std::vector<int32_t> ids;
  std::vector<float> probabilities, rest, lost;
  explicit Result(Shape s)
      : ids(static_cast<size_t>(s.tokens * s.k), -7), probabilities(ids.size(), NAN), rest(static_cast<size_t>(s.tokens), NAN), lost(rest) {}
  MostProbable op(Shape s, std::vector<float>& logits) {
    return {{f32(logits, {s.tokens, s.vocabulary})}, {i32(ids, {s.tokens, s.k})}, {f32(probabilities, {s.tokens, s.k})}, {f32(rest, {s.tokens})}, {f32(lost, {s.tokens})}, s.temperature};
  }
};

std::vector<float> logits_of(Shape s) {
  std::vector<float> logits = normal(s.tokens * s.vocabulary, 1, s.spread);
  for (size_t i = 0; i < logits.size(); i += 5) logits[i] = std::round(logits[i]);  // equal ones
  return logits;
}

Result oracle(Shape s, std::vector<float> logits) {
  Result r(s);
  Reference reference;
  run(reference, r.op(s, logits));
  return r;
}

Result kernel(Device& device, Shape s, std::vector<float> logits) {
  Result r(s);
  run_op(device, r.op(s, logits));
  return r;
}

Result plain(Shape s, const std::vector<float>& logits, const Result& order) {  // the formulas in f32
  Result r(s);
  for (int64_t n = 0; n < s.tokens; ++n) {
    const float* z = logits.data() + n * s.vocabulary;
    const int32_t* ids = order.ids.data() + n * s.k;
    float total = 0, rest = 0, lost = 0;
    std::vector<float> q;
    for (int64_t v = 0; v < s.vocabulary; ++v) q.push_back(std::exp((z[v] - z[ids[0]]) / s.temperature)), total += q.back();
    for (float& v : q) v /= total;
    for (int64_t j = 0; j < s.k; ++j) {
      r.probabilities[static_cast<size_t>(n * s.k + j)] = q[static_cast<size_t>(ids[j])];
      q[static_cast<size_t>(ids[j])] = 0;
    }
    for (float v : q) rest += v;
    for (float v : q) lost += v == 0 ? 0 : v * std::log(v * static_cast<float>(s.vocabulary - s.k) / rest);
    r.rest[static_cast<size_t>(n)] = rest, r.lost[static_cast<size_t>(n)] = lost;
  }
  return r;
}

std::string place(const std::string& name, Shape s) { return name + ", " + std::to_string(s.k) + " of " + std::to_string(s.vocabulary); }

}  // namespace

TEST(most_probable_against_reference) {
  for (Shape s : kShapes) {
    const std::vector<float> logits = logits_of(s);
    const Result want = oracle(s, logits), loop = plain(s, logits, want);
    Result first(s);
    on_devices([&](Device& device, const std::string& name, bool is_first) {
      const Result got = kernel(device, s, logits);
      EXPECT(got.ids == want.ids, "ids: " + place(name, s));
      EXPECT(within(error(got.probabilities, want.probabilities), error(loop.probabilities, want.probabilities)), "probabilities: " + place(name, s));
      if (s.k < s.vocabulary) EXPECT(within(error(got.rest, want.rest), error(loop.rest, want.rest)), "rest: " + place(name, s));
      else EXPECT(got.rest == std::vector<float>(want.rest.size()) && got.lost == got.rest, "nothing is left: " + place(name, s));
      // Where one token is left nothing is lost, and otherwise the loss is a difference of terms of the size of the rest.
      for (size_t n = 0; n < got.lost.size(); ++n) EXPECT(std::abs(got.lost[n] - want.lost[n]) <= 4e-6f * (want.rest[n] + want.lost[n]) && got.lost[n] >= 0, "lost: " + place(name, s));
      if (is_first) first = got;
      EXPECT(got.ids == first.ids && same_bits(got.probabilities, first.probabilities) && same_bits(got.rest, first.rest) && same_bits(got.lost, first.lost), "the same bits with any number of threads: " + place(name, s));
    });
  }
}

TEST(most_probable_by_formula) {  // q = 1/2, 1/4, 1/8, 1/8
  on_devices([&](Device& device, const std::string& name, bool) {
    const Shape s{1, 4, 1, 1, 1};
    const float two = std::log(2.0f);
    const Result r = kernel(device, s, {0, 2 * two, 0, two});
    const double lost = 0.25 * std::log(0.25 * 3 / 0.5) + 2 * 0.125 * std::log(0.125 * 3 / 0.5);
    EXPECT(r.ids[0] == 1 && std::abs(r.probabilities[0] - 0.5f) < 1e-6f && std::abs(r.rest[0] - 0.5f) < 1e-6f && std::abs(r.lost[0] - lost) < 1e-6, name);
  });
}

TEST(most_probable_of_equals_are_the_first) {  // also where only some of the equal ones are kept
  on_devices([&](Device& device, const std::string& name, bool) {
    const Shape s{2, 300, 7, 1, 1};
    std::vector<float> logits(600);
    for (size_t v = 300; v < 600; ++v) logits[v] = v % 100 == 99 ? 2.0f : v % 3 == 1 ? 1.0f : 0.0f;  // three of 2, then those of 1
    const Result r = kernel(device, s, logits);
    EXPECT((r.ids == std::vector<int32_t>{0, 1, 2, 3, 4, 5, 6, 99, 199, 299, 1, 4, 7, 10}), name);
  });
}

TEST(most_probable_nan_is_seen) {
  on_devices([&](Device& device, const std::string& name, bool) {
    const Shape s{3, 40, 6, 1, 2};
    for (size_t at : {0, 3, 39}) {
      std::vector<float> logits = logits_of(s);
      logits[40 + at] = NAN;
      const Result r = kernel(device, s, logits);
      bool seen = std::isfinite(r.probabilities[0]) && std::isfinite(r.rest[2]);
      for (size_t j = 0; j < 6; ++j) seen = seen && std::isnan(r.probabilities[6 + j]) && r.ids[6 + j] >= 0 && r.ids[6 + j] < 40;
      EXPECT(seen && std::isnan(r.rest[1]), name);
    }
  });
}

TEST(most_probable_refuses) {
  const Shape s{2, 5, 3, 1, 1};
  std::vector<float> logits(10), short_list(1);
  Result r(s);
  MostProbable good = r.op(s, logits);
  good.check();
  MostProbable bad = good;
  bad.ids = {i32(r.ids, {1, 6})};
  EXPECT(refuses(bad, "k in [1, vocabulary]"), "more than there are");
  bad = good, bad.probabilities = {f32(r.probabilities, {3, 2})};
  EXPECT(refuses(bad, "shape of ids"), "another shape");
  bad = good, bad.lost = {f32(short_list, {1})};
  EXPECT(refuses(bad, "rest and lost"), "a short list");
  bad = good, bad.temperature = 0;
  EXPECT(refuses(bad, "temperature"), "temperature 0");
}
