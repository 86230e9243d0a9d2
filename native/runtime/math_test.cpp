// exp, sigmoid, gelu and attention's powers against the C library in double, on a fine net of all f32 values, as the kernels of every instruction set compute them.
#include <cmath>
#include <limits>
#include <string>

#include "runtime/math.h"
#include "test/math_sweep.h"
#include "test/test.h"

using namespace nichelm;
using test::MathFunction;

namespace {

// Bit patterns a prime stride apart: both signs, all exponents, NaN; the special values, NaN of several bits among them; and steps of a thousandth. A multiple
// of 16 in number.
const std::vector<float>& net() {
  static const std::vector<float> all = [] {
    std::vector<float> x{0.0f, -0.0f, INFINITY, -INFINITY, NAN, -NAN, 88.72283f, 88.72284f, -87.33655f, -103.97f, -104.5f, 0.625f, -0.625f, 10.0f, -10.0f, 1e38f, -1e38f, 1e-45f};
    const auto add = [&](uint32_t bits) {
      float value;
      std::memcpy(&value, &bits, 4);
      x.push_back(value);
    };
    for (const uint32_t bits : {0x7fc00001u, 0x7f800001u, 0x7fffffffu, 0xffffffffu, 0xffc00155u}) add(bits);
    for (uint64_t bits = 0; bits < (uint64_t{1} << 32); bits += 4099) add(static_cast<uint32_t>(bits));
    for (int i = -120000; i <= 120000; ++i) x.push_back(static_cast<float>(i) * 1e-3f);
    while (x.size() % 16) x.push_back(0);
    return x;
  }();
  return all;
}

// The distance from got to want in units of the f32 that holds want, none smaller than the least normal's.
double ulps(float got, double want) {
  if (std::isnan(want)) return std::isnan(got) ? 0 : INFINITY;
  const float nearest = static_cast<float>(want);
  if (std::isinf(nearest)) return got == nearest || std::fabs(got) == std::numeric_limits<float>::max() ? 0 : INFINITY;
  if (!std::isfinite(got)) return INFINITY;
  const double least = std::ldexp(1.0, -149);
  const double unit = nearest == 0 ? least : std::max(least, std::ldexp(1.0, std::ilogb(nearest) - 23));
  return std::fabs(double(got) - want) / unit;
}

// For x < -2 without the cancellation of 1 + tanh.
double gelu_in_double(double x) {
  const double u = std::sqrt(2 / M_PI) * (x + 0.044715 * x * x * x);
  return x > -2 || std::isnan(x) ? 0.5 * x * (1 + std::tanh(u)) : x / (1 + std::exp(-2 * u));
}
double gelu_derivative_in_double(double x) {
  if (std::fabs(x) > 30) return x > 0;
  const double t = std::tanh(std::sqrt(2 / M_PI) * (x + 0.044715 * x * x * x));
  return 0.5 * (1 + t) + 0.5 * x * (1 - t * t) * std::sqrt(2 / M_PI) * (1 + 3 * 0.044715 * x * x);
}

using Sweep = std::function<void(const float*, float*, int64_t)>;

// The code of one instruction set.
Sweep sweep_of(Isa isa, MathFunction f) {
  const auto of = [&]<class Set>(Set*) -> Sweep { return [f](const float* x, float* y, int64_t count) { test::sweep<Set>(f, x, y, count); }; };
  switch (isa) {
#ifdef NICHELM_HAS_avx2
    case Isa::avx2: return of(static_cast<cpu::avx2*>(nullptr));
#endif
#ifdef NICHELM_HAS_avx512
    case Isa::avx512: return of(static_cast<cpu::avx512*>(nullptr));
#endif
#ifdef NICHELM_HAS_avx512bf16
    case Isa::avx512bf16: return of(static_cast<cpu::avx512bf16*>(nullptr));
#endif
    default: return of(static_cast<cpu::portable*>(nullptr));
  }
}
Sweep attention_power_of(Isa isa, bool bf16) {
  const auto of = [&]<class Set>(Set*) -> Sweep { return [bf16](const float* x, float* y, int64_t count) { test::sweep_attention_power<Set>(bf16, x, y, count); }; };
  switch (isa) {
#ifdef NICHELM_HAS_avx2
    case Isa::avx2: return of(static_cast<cpu::avx2*>(nullptr));
#endif
#ifdef NICHELM_HAS_avx512
    case Isa::avx512: return of(static_cast<cpu::avx512*>(nullptr));
#endif
#ifdef NICHELM_HAS_avx512bf16
    case Isa::avx512bf16: return of(static_cast<cpu::avx512bf16*>(nullptr));
#endif
    default: return of(static_cast<cpu::portable*>(nullptr));
  }
}

// The greatest of some errors, and where it is.
struct Worst {
  double value = 0;
  float at = 0;
  void see(double v, float x) { if (!(v <= value)) value = v, at = x; }
};

// One bound on an error: error(x, y, want) for every x of the net, or nothing to be said there.
struct Bound {
  const char* what;
  double most;
  std::function<double(float x, float y, double want)> error;
};

// Every x of the net, and the exact value: computed once, then compared with each instruction set's.
void hold(const char* name, const std::function<Sweep(Isa)>& sweep_on, const std::function<double(double)>& exact, const std::vector<Bound>& bounds) {
  const std::vector<float>& x = net();
  std::vector<double> want(x.size());
  for (size_t i = 0; i < x.size(); ++i) want[i] = exact(x[i]);
  for (const int isa : test::isas()) {
    std::vector<float> y(x.size());
    sweep_on(static_cast<Isa>(isa))(x.data(), y.data(), static_cast<int64_t>(x.size()));
    std::vector<Worst> worst(bounds.size());
    for (size_t i = 0; i < x.size(); ++i)
      for (size_t b = 0; b < bounds.size(); ++b) worst[b].see(bounds[b].error(x[i], y[i], want[i]), x[i]);
    for (size_t b = 0; b < bounds.size(); ++b) {
      char text[160];
      std::snprintf(text, sizeof text, "%s, %s, %s: %.3g at %.9g, may be %.3g", name, name_of(static_cast<Isa>(isa)), bounds[b].what, worst[b].value, double(worst[b].at), bounds[b].most);
      if (std::getenv("NICHELM_SHOW_ERRORS")) std::printf("%s\n", text);
      EXPECT(worst[b].value <= bounds[b].most, text);
    }
  }
}
void hold(const char* name, MathFunction f, const std::function<double(double)>& exact, const std::vector<Bound>& bounds) {
  hold(name, [f](Isa isa) { return sweep_of(isa, f); }, exact, bounds);
}

double nan_lost(float x, float y) { return std::isnan(x) && !std::isnan(y) ? INFINITY : 0; }

}  // namespace

// The bounds stand in docs/performance.md too.
TEST(math_exp) {
  hold("exp_fast", MathFunction::exp, [](double x) { return std::exp(x); }, {{"ulp", 1.5, [](float, float y, double want) { return ulps(y, want); }}});
  EXPECT(exp_fast(0.0f) == 1.0f, "exp_fast(0) is 1");
}

TEST(math_exp_nonpositive) {
  hold("exp_nonpositive", MathFunction::exp_nonpositive, [](double x) { return std::exp(x); },
       {{"ulp, -87 <= x <= 0", 1.5, [](float x, float y, double want) { return x <= 0 && x >= -87 ? ulps(y, want) : 0; }},
        {"x < -87", 0, [](float x, float y, double) { return x < -87 ? std::fabs(double(y)) : 0; }},
        {"NaN", 0, [](float x, float y, double) { return nan_lost(x, y); }}});
  EXPECT(exp_nonpositive(0.0f) == 1.0f, "exp_nonpositive(0) is 1");
}

TEST(math_exp2_nonpositive) {
  hold("exp2_nonpositive", MathFunction::exp2_nonpositive, [](double x) { return std::exp2(x); },
       {{"relative error, -125.9 <= x <= 0", 2e-7, [](float x, float y, double want) { return x <= 0 && x >= -125.9f ? std::fabs(y / want - 1) : 0; }},
        {"x < -126.51", 0, [](float x, float y, double) { return x < -126.51f ? std::fabs(double(y)) : 0; }},
        {"magnitude, -126.51 <= x < -125.9", 2e-38, [](float x, float y, double) { return x >= -126.51f && x < -125.9f ? std::fabs(double(y)) : 0; }},
        {"NaN", 0, [](float x, float y, double) { return nan_lost(x, y); }}});
  EXPECT(exp2_nonpositive(0.0f) == 1.0f, "exp2_nonpositive(0) is 1");
}

TEST(math_attention_power) {
  hold("power_of<float>", [](Isa isa) { return attention_power_of(isa, false); }, [](double x) { return std::exp(x); },
       {{"ulp, -1 <= x <= 1", 2, [](float x, float y, double want) { return std::fabs(x) <= 1 ? ulps(y, want) : 0; }},
        {"relative error / (1 + |x|), -87.3 <= x <= 88", 1e-7, [](float x, float y, double want) { return x >= -87.3f && x <= 88 ? std::fabs(y / want - 1) / (1 + std::fabs(x)) : 0; }},
        {"x < -87.7", 0, [](float x, float y, double) { return x < -87.7f ? double(y) : 0; }},
        {"NaN", 0, [](float x, float y, double) { return nan_lost(x, y); }}});
  hold("power_of<Bf16>", [](Isa isa) { return attention_power_of(isa, true); }, [](double x) { return std::exp2(x); },
       {{"relative error, -126 <= x <= 127", 1e-4, [](float x, float y, double want) { return x >= -126 && x <= 127 ? std::fabs(y / want - 1) : 0; }},
        {"x < -126.51", 0, [](float x, float y, double) { return x < -126.51f ? double(y) : 0; }},
        {"NaN", 0, [](float x, float y, double) { return nan_lost(x, y); }}});
}

TEST(math_sigmoid) {
  hold("sigmoid", MathFunction::sigmoid, [](double x) { return 1 / (1 + std::exp(-x)); },
       {{"ulp", 3, [](float, float y, double want) { return want < 2e-38 ? (std::fabs(y - want) < 2e-38 ? 0 : INFINITY) : ulps(y, want); }}});
}

TEST(math_gate) {
  hold("gate_of", MathFunction::gate, [](double x) { return 1 / (1 + std::exp(-x)); },
       {{"relative error / (2 + |x|), x >= -87", 2e-7, [](float x, float y, double want) { return x >= -87 ? std::fabs(y / want - 1) / (2 + std::fabs(std::min(x, 0.0f))) : 0; }},
        {"magnitude, x < -87", 2e-38, [](float x, float y, double) { return x < -87 ? std::fabs(double(y)) : 0; }}});
}

TEST(math_gelu) {
  hold("gelu", MathFunction::gelu, gelu_in_double,
       {{"ulp, x > -2", 8, [](float x, float y, double want) { return x > -2 || std::isnan(x) ? ulps(y, want) : 0; }},
        {"relative error, -5 < x <= -2", 3e-6, [](float x, float y, double want) { return x <= -2 && x > -5 ? std::fabs(y / want - 1) : 0; }},
        {"magnitude, x <= -10", 1e-36, [](float x, float y, double) { return x <= -10 ? std::fabs(double(y)) : 0; }}});
}

TEST(math_gelu_derivative) {
  hold("gelu_derivative", MathFunction::gelu_derivative, gelu_derivative_in_double,
       {{"absolute error", 1e-6, [](float x, float y, double want) { return std::isnan(x) ? nan_lost(x, y) : std::fabs(y - want); }}});
}

TEST(math_gelu_for_bf16) {
  hold("gelu<Bf16>", MathFunction::gelu_bf16, gelu_in_double,
       {{"relative error, -2.4 < x", 6e-4, [](float x, float y, double want) { return std::isnan(x) ? nan_lost(x, y) : x <= -2.4f || std::fabs(want) < 2e-38 || std::isinf(want) ? 0 : std::fabs(y / want - 1); }},
        {"absolute error, x <= -2.4", 2e-5, [](float x, float y, double want) { return x > -2.4f || std::isnan(x) ? 0 : std::fabs(y - (std::isinf(x) ? 0 : want)); }},
        {"magnitude, x <= -10", 1e-8, [](float x, float y, double) { return x <= -10 ? std::fabs(double(y)) : 0; }}});
}

TEST(math_gelu_derivative_for_bf16) {
  hold("gelu_derivative<Bf16>", MathFunction::gelu_derivative_bf16, gelu_derivative_in_double,
       {{"absolute error", 8e-5, [](float x, float y, double want) { return std::isnan(x) ? nan_lost(x, y) : std::fabs(y - want); }},
        {"absolute error, |x| > 6", 1e-6, [](float x, float y, double want) { return std::fabs(x) > 6 ? std::fabs(y - want) : 0; }}});
}
