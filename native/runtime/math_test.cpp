// exp, tanh, sigmoid, gelu against the C library in double, on a fine net of all f32 values, as plain code and as vector code with FMA.
#include <cmath>
#include <limits>
#include <string>

#include "runtime/math.h"
#include "test/test.h"

using namespace nichelm;

namespace {

// Bit patterns a prime stride apart: both signs, all exponents, NaN; and the special values.
const std::vector<float>& net() {
  static const std::vector<float> all = [] {
    std::vector<float> x{0.0f, -0.0f, INFINITY, -INFINITY, NAN, -NAN, 88.72283f, 88.72284f, -87.33655f, -103.97f, -104.5f, 0.625f, -0.625f, 10.0f, -10.0f, 1e38f, -1e38f, 1e-45f};
    for (uint64_t bits = 0; bits < (uint64_t{1} << 32); bits += 4099) {
      const uint32_t word = static_cast<uint32_t>(bits);
      float value;
      std::memcpy(&value, &word, 4);
      x.push_back(value);
    }
    for (int i = -120000; i <= 120000; ++i) x.push_back(static_cast<float>(i) * 1e-3f);
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

double gelu_in_double(double x) { return 0.5 * x * (1 + std::tanh(std::sqrt(2 / M_PI) * (x + 0.044715 * x * x * x))); }
double gelu_derivative_in_double(double x) {
  if (std::fabs(x) > 30) return x > 0;
  const double t = std::tanh(std::sqrt(2 / M_PI) * (x + 0.044715 * x * x * x));
  return 0.5 * (1 + t) + 0.5 * x * (1 - t * t) * std::sqrt(2 / M_PI) * (1 + 3 * 0.044715 * x * x);
}

#define NICHELM_LOOPS(suffix, attribute)                                                                         \
  attribute void exp_##suffix(const float* x, float* y, size_t n) { for (size_t i = 0; i < n; ++i) y[i] = exp_fast(x[i]); }   \
  attribute void tanh_##suffix(const float* x, float* y, size_t n) { for (size_t i = 0; i < n; ++i) y[i] = tanh_fast(x[i]); } \
  attribute void sigmoid_##suffix(const float* x, float* y, size_t n) { for (size_t i = 0; i < n; ++i) y[i] = sigmoid(x[i]); } \
  attribute void gelu_##suffix(const float* x, float* y, size_t n) { for (size_t i = 0; i < n; ++i) y[i] = gelu(x[i]); }      \
  attribute void derivative_##suffix(const float* x, float* y, size_t n) { for (size_t i = 0; i < n; ++i) y[i] = gelu_derivative(x[i]); }
NICHELM_LOOPS(plain, __attribute__((noinline)))
#ifdef __x86_64__
NICHELM_LOOPS(fma, __attribute__((noinline, target("avx2,fma"))))
#endif

using Loop = void (*)(const float*, float*, size_t);

// Calls body(x, y) on every value of the net, for the loop as plain code and, where this CPU has it, as vector code.
template <class Body> void on_net(Loop plain, Loop vector, const Body& body) {
  const std::vector<float>& x = net();
  std::vector<float> y(x.size());
  for (Loop loop : {plain, vector}) {
    if (!loop) continue;
    loop(x.data(), y.data(), x.size());
    for (size_t i = 0; i < x.size(); ++i) body(x[i], y[i]);
  }
}

#ifdef __x86_64__
#define NICHELM_BOTH(name) name##_plain, __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") ? name##_fma : nullptr
#else
#define NICHELM_BOTH(name) name##_plain, nullptr
#endif

struct Worst {
  double value = 0;
  float at = 0;
  void see(double v, float x) { if (!(v <= value)) value = v, at = x; }
  std::string text() const { return std::to_string(value) + " at " + std::to_string(at); }
};

}  // namespace

TEST(math_exp) {
  Worst worst;
  on_net(NICHELM_BOTH(exp), [&](float x, float y) { worst.see(ulps(y, std::exp(double(x))), x); });
  EXPECT(worst.value <= 1.5, "exp_fast: ulp " + worst.text());
  EXPECT(exp_fast(0.0f) == 1.0f, "exp_fast(0) is 1");
}

TEST(math_tanh) {
  Worst worst;
  on_net(NICHELM_BOTH(tanh), [&](float x, float y) { worst.see(ulps(y, std::tanh(double(x))), x); });
  EXPECT(worst.value <= 2, "tanh_fast: ulp " + worst.text());
}

TEST(math_sigmoid) {
  Worst worst;
  on_net(NICHELM_BOTH(sigmoid), [&](float x, float y) {
    const double want = 1 / (1 + std::exp(-double(x)));
    worst.see(want < 2e-38 ? (std::fabs(y - want) < 2e-38 ? 0 : INFINITY) : ulps(y, want), x);
  });
  EXPECT(worst.value <= 3, "sigmoid: ulp " + worst.text());
}

TEST(math_gelu) {
  Worst near, middle, far;
  on_net(NICHELM_BOTH(gelu), [&](float x, float y) {
    if (x > -2 || std::isnan(x)) near.see(ulps(y, gelu_in_double(x)), x);
    else if (x > -5) middle.see(std::fabs(y / (x / (1 + std::exp(-2 * std::sqrt(2 / M_PI) * (x + 0.044715 * std::pow(double(x), 3))))) - 1), x);
    else if (x <= -10) far.see(std::fabs(y), x);
  });
  EXPECT(near.value <= 8, "gelu, x > -2: ulp " + near.text());
  EXPECT(middle.value <= 3e-6, "gelu, -5 < x <= -2: relative error " + middle.text());
  EXPECT(far.value <= 1e-36, "gelu, x <= -10: magnitude " + far.text());
}

TEST(math_gelu_derivative) {
  Worst worst;
  on_net(NICHELM_BOTH(derivative), [&](float x, float y) {
    const double want = gelu_derivative_in_double(x);
    worst.see(std::isnan(x) ? (std::isnan(y) ? 0 : INFINITY) : std::fabs(y - want), x);
  });
  EXPECT(worst.value <= 1e-6, "gelu_derivative: absolute error " + worst.text());
}
