// global_norm: against the double reference, threads, huge and tiny gradients, clipping, NaN and infinity.
#include "ops/global_norm/global_norm.h"

#include <cmath>

#include "test/devices.h"

using namespace nichelm;
using namespace nichelm::test;

namespace {

struct Result { float norm = NAN, clip = NAN; };

GlobalNorm op_on(std::vector<float>& gradient, Result& result, float limit, float* squares = nullptr) {
  return {{f32(gradient, {static_cast<int64_t>(gradient.size())})}, {tensor(squares, Type::f32, {1})}, {tensor(&result.norm, Type::f32, {1})}, {tensor(&result.clip, Type::f32, {1})}, limit};
}

}  // namespace

TEST(global_norm_against_reference) {
  for (int64_t n : {1, 31, 16384, 16385, 100003})
    for (float scale : {1e-25f, 1.0f, 1e25f})
      for (float limit : {0.0f, 1.0f, 1e30f}) {
        auto gradient = normal(n, static_cast<unsigned>(n), scale);
        Result want, first;
        Reference reference;
        run(reference, op_on(gradient, want, limit));
        on_devices([&](Device& device, const std::string& name, bool is_first) {
          Result got;
          run_op(device, op_on(gradient, got, limit));
          const std::string at = name + ", n " + std::to_string(n) + ", scale " + std::to_string(scale) + ", limit " + std::to_string(limit);
          EXPECT(std::abs(got.norm - want.norm) <= 1.2e-7f * want.norm, "norm: " + at);
          EXPECT(std::abs(got.clip - want.clip) <= 1.2e-7f * want.clip, "clip: " + at);
          if (is_first) first = got;
          EXPECT(got.norm == first.norm && got.clip == first.clip, "the same bits with any number or order of threads: " + at);
        });
      }
}

TEST(global_norm_not_finite_gives_nan_clip) {
  for (float bad : {NAN, INFINITY, -INFINITY, 3e38f})
    for (size_t place : {0, 5, 16383, 16384, 40000}) {
      auto gradient = normal(40001, 3);
      gradient[place] = bad;
      if (bad == 3e38f) gradient[place / 2 + 1] = bad;  // each is finite, their norm is not
      on_devices([&](Device& device, const std::string& name, bool) {
        for (float limit : {0.0f, 1.0f}) {
          Result got{0, 0};
          run_op(device, op_on(gradient, got, limit));
          EXPECT(!std::isfinite(got.norm) && std::isnan(got.clip), name + ", " + std::to_string(bad) + " at " + std::to_string(place));
        }
      });
    }
}

TEST(global_norm_adds_squares) {
  auto gradient = normal(20001, 4);
  for (float squares : {0.0f, 3.5f, 20000.0f, 1e30f, NAN}) {
    Result want, without;
    Reference reference;
    run(reference, op_on(gradient, without, 1));
    run(reference, op_on(gradient, want, 1, &squares));
    if (squares > 1) EXPECT(want.norm > without.norm, "squares count");
    on_devices([&](Device& device, const std::string& name, bool) {
      Result got;
      run_op(device, op_on(gradient, got, 1, &squares));
      const std::string at = name + ", squares " + std::to_string(squares);
      if (std::isnan(squares)) EXPECT(std::isnan(got.norm) && std::isnan(got.clip), at);
      else EXPECT(std::abs(got.norm - want.norm) <= 1.2e-7f * want.norm && std::abs(got.clip - want.clip) <= 1.2e-7f * want.clip, at);
    });
  }
}

TEST(global_norm_refuses) {
  std::vector<float> x(8);
  Result result;
  EXPECT(refuses(op_on(x, result, -1), "limit"), "a negative limit");
  GlobalNorm bad = op_on(x, result, 1);
  bad.gradient.type = Type::bf16;
  EXPECT(refuses(bad, "gradient must be f32"), "a bf16 gradient");
  bad = op_on(x, result, 1), bad.squares = {f32(x, {8})};
  EXPECT(refuses(bad, "squares must be one"), "many squares");
}
