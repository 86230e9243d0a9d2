// sample against the double reference on random rows, against its definition by frequencies, and at its edges: equal logits, all cut off but one, NaN.
#include "ops/sample/sample.h"

#include <cmath>

#include "test/devices.h"
#include "test/operand.h"

using namespace nichelm;
using namespace nichelm::test;

namespace {

std::vector<float> uniforms(int64_t count, unsigned seed) {
  std::vector<float> u;
  for (int64_t i = 0; i < count; ++i) seed = seed * 1664525 + 1013904223, u.push_back(static_cast<float>(seed >> 8) * 0x1p-24f);
  return u;
}

std::vector<int32_t> ids_of(Device& device, std::vector<float> logits, std::vector<float> uniform, float temperature, int64_t top_k, float top_p) {
  const int64_t rows = static_cast<int64_t>(uniform.size()), vocabulary = static_cast<int64_t>(logits.size()) / rows;
  std::vector<int32_t> ids(uniform.size(), -7);
  run_op(device, Sample{{f32(logits, {rows, vocabulary})}, {f32(uniform, {rows})}, {i32(ids, {rows})}, temperature, top_k, top_p});
  return ids;
}

}  // namespace

// Where rounding decides between neighbours the two may differ; a draw in a thousand at most.
TEST(sample_against_reference) {
  for (auto [vocabulary, spread] : {std::pair<int64_t, float>{1, 1.0f}, {2, 1.0f}, {17, 2.0f}, {300, 3.0f}, {5003, 4.0f}})
    for (float temperature : {0.0f, 0.3f, 1.0f, 4.0f})
      for (int64_t top_k : {0, 1, 5, 200, 100000})
        for (float top_p : {1.0f, 0.999f, 0.6f, 1e-6f}) {
          const int64_t rows = 40;
          std::vector<float> logits = normal(rows * vocabulary, 1, spread), uniform = uniforms(rows, 7);
          for (size_t i = 0; i < logits.size(); i += 5) logits[i] = std::round(logits[i]);  // equal ones
          std::vector<int32_t> want(static_cast<size_t>(rows)), first;
          Reference reference;
          run(reference, Sample{{f32(logits, {rows, vocabulary})}, {f32(uniform, {rows})}, {i32(want, {rows})}, temperature, top_k, top_p});
          on_devices([&](Device& device, const std::string& name, bool is_first) {
            if (device.emulated() && ((vocabulary != 17 && vocabulary != 300) || (temperature != 0 && temperature != 1))) return;
            const int64_t some = device.emulated() ? 2 : rows;  // of the rows
            const std::vector<int32_t> got = ids_of(device, {logits.begin(), logits.begin() + some * vocabulary}, {uniform.begin(), uniform.begin() + some}, temperature, top_k, top_p);
            int differ = 0;
            for (size_t i = 0; i < got.size(); ++i) differ += got[i] != want[i];
            EXPECT(differ == 0 || (differ <= 1 && temperature > 0), "sample of " + std::to_string(vocabulary) + ", temperature " + std::to_string(temperature) + ", top_k " + std::to_string(top_k) +
                   ", top_p " + std::to_string(top_p) + ": " + std::to_string(differ) + " of 40 differ, " + name);
            if (is_first) first = got;
            EXPECT(got == first, "sample: not the ids of one thread, " + name);
          });
        }
}

// q = 1/2, 1/4, 1/8, 1/8 at temperature 1, at ids 1, 3, 0, 2.
TEST(sample_by_formula) {
  const float two = std::log(2.0f);
  std::vector<float> row{0, 2 * two, 0, two}, u{0, 0.124f, 0.126f, 0.624f, 0.626f, 0.749f, 0.751f, 0.9999f}, logits;
  for (size_t i = 0; i < u.size(); ++i) logits.insert(logits.end(), row.begin(), row.end());
  on_devices([&](Device& device, const std::string& name, bool) {
    const auto drawn = [&](float temperature, int64_t top_k, float top_p) { return ids_of(device, logits, u, temperature, top_k, top_p); };
    EXPECT((drawn(1, 0, 1) == std::vector<int32_t>{0, 0, 1, 1, 2, 2, 3, 3}), "all, by id: " + name);
    EXPECT((drawn(1, 2, 1) == std::vector<int32_t>{1, 1, 1, 1, 1, 3, 3, 3}), "two of four, 2 to 1: " + name);
    EXPECT((drawn(1, 3, 1) == std::vector<int32_t>{1, 1, 1, 3, 3, 3, 3, 0}), "three, of equal ones the lower id: " + name);
    EXPECT((drawn(1, 0, 0.99f) == std::vector<int32_t>{1, 1, 1, 3, 3, 3, 0, 2}), "all, in order: " + name);
    EXPECT((drawn(1, 0, 0.74f) == std::vector<int32_t>{1, 1, 1, 1, 1, 3, 3, 3}), "a nucleus of two: " + name);
    EXPECT((drawn(1, 2, 0.6f) == std::vector<int32_t>{1, 1, 1, 1, 1, 1, 1, 1}), "a nucleus of what top_k left: " + name);
    EXPECT((drawn(0, 0, 1) == std::vector<int32_t>(8, 1)), "greedy: " + name);
  });
}

TEST(sample_not_finite) {
  on_devices([&](Device& device, const std::string& name, bool) {
    for (float bad : {NAN, INFINITY})
      for (size_t at : {0, 3, 9})
        for (float temperature : {0.0f, 1.0f})
          for (float top_p : {1.0f, 0.5f})
            for (int64_t top_k : {0, 4}) {
              std::vector<float> logits = normal(30, 3);
              logits[10 + at] = bad;
              const std::vector<int32_t> ids = ids_of(device, logits, {0.1f, 0.1f, 0.1f}, temperature, top_k, top_p);
              EXPECT(ids[0] >= 0 && ids[1] == -1 && ids[2] >= 0, "sample: a row that is not finite gives no token, " + name);
            }
    std::vector<float> masked(6, -INFINITY);
    masked[4] = 1;
    for (float u : {0.0f, 0.9f}) EXPECT(ids_of(device, masked, {u}, 1, 0, 1) == std::vector<int32_t>{4}, "sample: what is at minus infinity is not drawn, " + name);
  });
}

TEST(sample_refuses) {
  std::vector<float> logits(10), uniform(2), one(1);
  std::vector<int32_t> ids(2);
  const Sample good{{f32(logits, {2, 5})}, {f32(uniform, {2})}, {i32(ids, {2})}, 1, 3, 0.5f};
  good.check();
  Sample bad = good;
  bad.uniform = {f32(one, {1})};
  EXPECT(refuses(bad, "uniform must hold"), "too few numbers");
  bad = good, bad.temperature = -1;
  EXPECT(refuses(bad, "temperature"), "a negative temperature");
  bad = good, bad.temperature = NAN;
  EXPECT(refuses(bad, "temperature"), "a temperature that is no number");
  bad = good, bad.top_k = -1;
  EXPECT(refuses(bad, "top_k"), "a negative top_k");
  bad = good, bad.top_p = 0;
  EXPECT(refuses(bad, "top_p"), "top_p 0");
}
