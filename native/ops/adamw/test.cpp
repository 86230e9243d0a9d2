// adamw: ten steps against the double reference, the bf16 copy, threads, NaN, refused operands.
#include "ops/adamw/adamw.h"

#include <cmath>

#include "test/devices.h"

using namespace nichelm;
using namespace nichelm::test;

namespace {

struct State {
  std::vector<float> p, m, v;
  explicit State(int64_t n) : p(normal(n, 1)), m(static_cast<size_t>(n)), v(static_cast<size_t>(n)) {}
};

// Ten steps with gradients, rate and clip that change; step(op) does one.
template <class Step> void ten_steps(State& state, std::vector<uint16_t>* copy, const Step& step) {
  const int64_t n = static_cast<int64_t>(state.p.size());
  for (int t = 1; t <= 10; ++t) {
    auto gradient = normal(n, 10u + static_cast<unsigned>(t), 0.1f);
    std::vector<float> clip{t % 3 ? 1.0f : 0.5f}, schedule{0.01f / static_cast<float>(t), static_cast<float>(1 - std::pow(0.9, t)), static_cast<float>(1 - std::pow(0.95, t))};
    Adamw op{{f32(gradient, {n})}, {f32(clip, {1})}, {f32(schedule, {3})}, {f32(state.p, {n})}, {f32(state.m, {n})}, {f32(state.v, {n})}, {}, 0.9f, 0.95f, 1e-8f, 0.1f};
    if (copy) op.copy = {bf16(*copy, {n})};
    step(op);
  }
}

void plain_step(const Adamw& op) {  // the formula in f32
  const float* schedule = op.schedule.as<float>();
  for (int64_t i = 0; i < op.p.size(); ++i) {
    float &p = op.p.as<float>()[i], &m = op.m.as<float>()[i], &v = op.v.as<float>()[i];
    const float g = op.clip.as<float>()[0] * op.gradient.as<float>()[i];
    m = op.beta1 * m + (1 - op.beta1) * g;
    v = op.beta2 * v + (1 - op.beta2) * g * g;
    p = p * (1 - schedule[0] * op.weight_decay) - schedule[0] * (m / schedule[1]) / (std::sqrt(v / schedule[2]) + op.epsilon);
  }
}

}  // namespace

TEST(adamw_ten_steps) {
  for (int64_t n : {1, 13, 4096, 4097, 20011}) {
    State want(n), plain(n);
    Reference reference;
    ten_steps(want, nullptr, [&](const Adamw& op) { run(reference, op); });
    ten_steps(plain, nullptr, plain_step);
    State first(n);
    on_devices([&](Device& device, const std::string& name, bool is_first) {
      State got(n);
      std::vector<uint16_t> copy(static_cast<size_t>(n), 0xffff);
      ten_steps(got, &copy, [&](const Adamw& op) { run_op(device, op); });
      const std::string at = name + ", n " + std::to_string(n);
      EXPECT(within(error(got.p, want.p), error(plain.p, want.p)), "p: " + at);
      EXPECT(within(error(got.m, want.m), error(plain.m, want.m)), "m: " + at);
      EXPECT(within(error(got.v, want.v), error(plain.v, want.v)), "v: " + at);
      EXPECT(error(got.p, want.p) < 1e-6, "p after ten steps: " + at);
      EXPECT(copy == to_bf16(got.p), "copy is p rounded: " + at);
      if (is_first) first = got;
      EXPECT(got.p == first.p && got.m == first.m && got.v == first.v, "the same bits with any number or order of threads: " + at);
    });
  }
}

TEST(adamw_nan_clip_reaches_every_parameter) {
  on_devices([&](Device& device, const std::string& name, bool) {
    const int64_t n = 37;
    auto p = normal(n, 1), gradient = normal(n, 2), m = normal(n, 3), v = std::vector<float>(static_cast<size_t>(n), 1);
    std::vector<float> clip{NAN}, schedule{0.1f, 1, 1};
    std::vector<uint16_t> copy(static_cast<size_t>(n), 0);
    run_op(device, Adamw{{f32(gradient, {n})}, {f32(clip, {1})}, {f32(schedule, {3})}, {f32(p, {n})}, {f32(m, {n})}, {f32(v, {n})}, {bf16(copy, {n})}, 0.9f, 0.95f, 1e-8f, 0});
    bool all = true;
    const auto copied = from_bf16(copy);
    for (size_t i = 0; i < p.size(); ++i) all = all && std::isnan(p[i]) && std::isnan(copied[i]);
    EXPECT(all, name);
  });
}

TEST(adamw_refuses) {
  std::vector<float> x(8), one(1), three(3);
  const Adamw good{{f32(x, {8})}, {f32(one, {1})}, {f32(three, {3})}, {f32(x, {8})}, {f32(x, {8})}, {f32(x, {8})}, {}, 0.9f, 0.95f, 1e-8f, 0};
  good.check();
  Adamw bad = good;
  bad.m = {f32(x, {7})};
  EXPECT(refuses(bad, "as large as gradient"), "a short m");
  bad = good, bad.copy = {f32(x, {8})};
  EXPECT(refuses(bad, "copy must be bf16"), "an f32 copy");
  bad = good, bad.schedule = {f32(one, {1})};
  EXPECT(refuses(bad, "schedule"), "a short schedule");
  bad = good, bad.beta2 = 1;
  EXPECT(refuses(bad, "below 1"), "beta2 of 1");
}
