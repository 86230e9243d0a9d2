// exp, sigmoid and gelu in f32 as straight-line code, so that a loop over them becomes vector code. Errors are against the exact
// value, in units in the last place (ulp), over the whole range (runtime/math_test.cpp measures them). NaN gives NaN.
// gelu and exp_nonpositive are for registers too: X is float, or a type that has the same few operations (runtime/several.h).
// The polynomial of exp is that of Cephes (Moshier, netlib.org/cephes, expf).
#pragma once
#include <cstdint>
#include <cstring>

#include "runtime/bf16.h"

namespace nichelm {

// x, or the bound where x is beyond it; NaN stays.
NICHELM_INLINE float at_most(float x, float bound) { return x > bound ? bound : x; }
NICHELM_INLINE float at_least(float x, float bound) { return x < bound ? bound : x; }

// p 2^n, n the whole number that was rounded to by adding 1.5 2^23, which is shifted; for normal p and p 2^n.
NICHELM_INLINE float add_exponent(float p, float shifted) {
  uint32_t bits, exponent;
  std::memcpy(&bits, &p, 4);
  std::memcpy(&exponent, &shifted, 4);
  bits += exponent << 23;
  std::memcpy(&p, &bits, 4);
  return p;
}

// e^x, 1.5 ulp; overflow gives inf, underflow goes through the subnormals (there within 2 of their units) to 0. exp_fast(0) is 1.
NICHELM_INLINE float exp_fast(float x) {
  x = x > 89.0f ? 89.0f : x;  // comparisons this way round let NaN pass
  x = x < -104.0f ? -104.0f : x;
  constexpr float shift = 12582912.0f;  // 1.5 2^23: adding it rounds to an integer, which stands in the low bits
  const float t = x * 1.44269504088896341f + shift;
  const float n = t - shift;
  const float r = x - n * 0.693359375f - n * -2.12194440e-4f;  // ln 2 in two parts; the first product is exact
  float p = 1.9875691500e-4f;
  p = p * r + 1.3981999507e-3f;
  p = p * r + 8.3334519073e-3f;
  p = p * r + 4.1665795894e-2f;
  p = p * r + 1.6666665459e-1f;
  p = p * r + 5.0000001201e-1f;
  p = p * (r * r) + r + 1.0f;
  int32_t bits;
  std::memcpy(&bits, &t, 4);
  const int32_t exponent = bits - 0x4b400000;  // n as an integer
  const int32_t half = exponent >> 1;          // 2^n in two factors: one alone would overflow at 128 and below -126
  const uint32_t low = static_cast<uint32_t>(half + 127) << 23, high = static_cast<uint32_t>(exponent - half + 127) << 23;
  float a, b;
  std::memcpy(&a, &low, 4);
  std::memcpy(&b, &high, 4);
  return p * a * b;
}

NICHELM_INLINE float power_of_two(float shifted) { return add_exponent(1.0f, shifted); }
NICHELM_INLINE float zero_below(float y, float x, float bound) { return x < bound ? 0.0f : y; }

// e^x for x <= 0, 1.5 ulp; exactly 0 below -87, where exp_fast goes through the subnormals. exp_nonpositive(0) is 1.
template <class X> NICHELM_INLINE X exp_nonpositive(X x) {
  const X y = at_least(x, -87.0f);
  constexpr float shift = 12582912.0f;
  const X t = y * 1.44269504088896341f + shift;
  const X n = t - shift;
  const X r = y - n * 0.693359375f - n * -2.12194440e-4f;
  X p = 1.9875691500e-4f * r + 1.3981999507e-3f;
  p = p * r + 8.3334519073e-3f;
  p = p * r + 4.1665795894e-2f;
  p = p * r + 1.6666665459e-1f;
  p = p * r + 5.0000001201e-1f;
  p = p * (r * r) + r + 1.0f;
  return zero_below(p * power_of_two(t), x, -87.0f);  // a product, so that NaN stays
}

// 1 / (1 + e^-x), 3 ulp; below -88.7, where the result would be subnormal, 0.
NICHELM_INLINE float sigmoid(float x) { return 1.0f / (1.0f + exp_fast(-x)); }

// e^-2u, u = sqrt(2/pi) (x + 0.044715 x³), for |x| <= 10, as a power of 2: a polynomial of degree 5 for the fraction (fitted for least relative error,
// 1.3 2^-24), and the whole number added to the exponent's bits, which at that range never leaves the normal numbers.
template <class X> NICHELM_INLINE X gelu_exponential(X x) {
  const X y = -x * (2.302208198144325f + 0.1029432395800235f * (x * x));  // -2u / ln 2
  constexpr float shift = 12582912.0f;
  const X t = y + shift;
  const X f = y - (t - shift);
  X p = 1.327647129e-3f * f + 9.675540961e-3f;
  p = p * f + 5.550713092e-2f;
  p = p * f + 2.402212024e-1f;
  p = p * f + 6.931469440e-1f;
  p = p * f + 1.000000119f;
  return add_exponent(p, t);
}

// gelu(x) = x/2 (1 + tanh u) = x / (1 + e^-2u); the second form does not cancel where x is negative.
// Error below 8 ulp for x > -2, below 3e-6 |gelu(x)| for x > -5, and below 1e-36 for x <= -10, where it stays at gelu(-10), about -1e-37.
template <class X> NICHELM_INLINE X gelu(X x) {
  const X above = at_least(x, -10.0f);
  return above / (1.0f + gelu_exponential(at_most(above, 10.0f)));
}

// gelu'(x) = s + x s (1 - s) 2u', s = 1 / (1 + e^-2u), 2u' = 2 sqrt(2/pi) (1 + 3 · 0.044715 x²). Absolute error below 1e-6; inf gives 1, -inf 0.
template <class X> NICHELM_INLINE X gelu_derivative(X x) {
  x = at_least(at_most(x, 10.0f), -10.0f);  // beyond, it is 0 or 1 to within 1e-34
  const X e = gelu_exponential(x);
  const X s = 1.0f / (1.0f + e);
  return s + x * (e * s) * s * (1.5957691216057308f + 0.21406443847659f * (x * x));
}

}  // namespace nichelm
