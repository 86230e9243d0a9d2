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

// 2^n, n + 127 being the whole number that was rounded to by adding 1.5 2^23, from -126 on; 0 at n = -127.
NICHELM_INLINE float power_of_two(float shifted) {
  uint32_t bits;
  float y;
  std::memcpy(&bits, &shifted, 4);
  bits <<= 23;
  std::memcpy(&y, &bits, 4);
  return y;
}
NICHELM_INLINE float zero_below(float y, float x, float bound) { return x < bound ? 0.0f : y; }

// e^x for x <= 0, 1.5 ulp; exactly 0 below -87, where exp_fast goes through the subnormals. exp_nonpositive(0) is 1.
template <class X> NICHELM_INLINE X exp_nonpositive(X x) {
  constexpr float shift = 12582912.0f + 127.0f;
  const X y = at_least(x, -87.0f);
  const X t = y * 1.44269504088896341f + shift;
  const X n = t - shift;
  const X r = y - n * 0.693359375f - n * -2.12194440e-4f;
  X p = 1.9875691500e-4f * r + 1.3981999507e-3f;
  p = p * r + 8.3334519073e-3f;
  p = p * r + 4.1665795894e-2f;
  p = p * r + 1.6666665459e-1f;
  p = p * r + 5.0000001201e-1f;
  p = p * (r * r) + r + 1.0f;
  return zero_below(p * power_of_two(t), x, -87.0f);
}
// 2^x for x <= 0, for what is rounded to bf16 in the end: relative error below 2e-7 before that, which sums of it in f32 can bear as well; exactly 0 below -126.5,
// subnormal from -126 on. exp2_nonpositive(0) is 1.
template <class X> NICHELM_INLINE X exp2_nonpositive(X x) {
  constexpr float shift = 12582912.0f + 127.0f;
  const X y = at_least(x, -127.0f), t = y + shift, f = y - (t - shift);  // 2^-127 is 0 as bits
  X p = 1.326471334e-3f * f + 9.671523236e-3f;
  p = p * f + 5.550733954e-2f;
  p = p * f + 2.402224243e-1f;
  p = p * f + 6.931470037e-1f;
  p = p * f + 1.0f;
  return p * power_of_two(t);  // a product, so that NaN stays
}

// 1 / (1 + e^-x), 3 ulp; below -88.7, where the result would be subnormal, 0.
NICHELM_INLINE float sigmoid(float x) { return 1.0f / (1.0f + exp_fast(-x)); }

// 2^f for |f| <= 1/2, fitted for least relative error: 1.3 2^-24; for bf16, whose rounding by 2^-9 hides a shorter polynomial, 2^-13.7.
template <class For = float, class X> NICHELM_INLINE X power_of_fraction(X f) {
  if constexpr (sizeof(For) == 2) {
    X p = 5.517166853e-2f * f + 2.426111251e-1f;
    p = p * f + 6.932609677e-1f;
    return p * f + 9.999280572e-1f;
  } else {
    X p = 1.327647129e-3f * f + 9.675540961e-3f;
    p = p * f + 5.550713092e-2f;
    p = p * f + 2.402212024e-1f;
    p = p * f + 6.931469440e-1f;
    return p * f + 1.000000119f;
  }
}

// e^-x for -87 <= x <= 87, below 2e-7 (1 + |x|) relative, as a power of 2 whose exponent never leaves the normal numbers.
template <class X> NICHELM_INLINE X silu_exponential(X x) {
  constexpr float shift = 12582912.0f;
  const X t = -x * 1.44269504088896341f + shift;
  const X f = -x * 1.44269504088896341f - (t - shift);
  return add_exponent(power_of_fraction(f), t);
}
// sigmoid for registers: 1 / (1 + e^-x), relative error below 2e-7 (2 + |x|) for x >= -87 (below 4e-7 for x > 0), where it stays.
template <class X> NICHELM_INLINE X gate_of(X x) { return 1.0f / (1.0f + silu_exponential(at_most(at_least(x, -87.0f), 87.0f))); }

// gelu and its derivative are for results of f32, or of bf16: For is float or Bf16.

// e^-2u, u = sqrt(2/pi) (x + 0.044715 x³), for |x| <= 10, as a power of 2: a polynomial for the fraction, and the whole number added to the exponent's bits,
// which at that range never leaves the normal numbers.
template <class For, class X> NICHELM_INLINE X gelu_exponential(X x) {
  const X y = -x * (2.302208198144325f + 0.1029432395800235f * (x * x));  // -2u / ln 2
  constexpr float shift = 12582912.0f;
  const X t = y + shift;
  const X f = y - (t - shift);
  return add_exponent(power_of_fraction<For>(f), t);
}

// gelu(x) = x/2 (1 + tanh u) = x / (1 + e^-2u); the second form does not cancel where x is negative.
// Error below 8 ulp for x > -2, below 3e-6 |gelu(x)| for x > -5, and below 1e-36 for x <= -10, where it stays at gelu(-10), about -1e-37.
// For bf16, before its rounding: below 1e-4 |gelu(x)| for x > -5.
template <class For = float, class X> NICHELM_INLINE X gelu(X x) {
  const X above = at_least(x, -10.0f);
  return above / (1.0f + gelu_exponential<For>(at_most(above, 10.0f)));
}

// gelu'(x) = s + x s (1 - s) 2u', s = 1 / (1 + e^-2u), 2u' = 2 sqrt(2/pi) (1 + 3 · 0.044715 x²). Absolute error below 1e-6; inf gives 1, -inf 0.
// For bf16, before its rounding, below 6e-5: a polynomial of x times one of x², fitted up to 4.375, where it ends at 0 and 1 exactly but for rounding;
// about the middle of x², or the terms would cancel. It has half the operations, and no division.
template <class For = float, class X> NICHELM_INLINE X gelu_derivative(X x) {
  if constexpr (sizeof(For) == 2) {
    x = at_least(at_most(x, 4.375f), -4.375f);
    const X z = x * x - 9.5703125f;
    X p = -3.640980920e-11f * z + 7.372936706e-10f;
    p = p * z - 4.755464911e-9f;
    p = p * z + 4.871822057e-8f;
    p = p * z - 1.051275376e-6f;
    p = p * z + 1.293047535e-5f;
    p = p * z - 1.173044002e-4f;
    p = p * z + 1.023410470e-3f;
    p = p * z - 9.931226261e-3f;
    p = p * z + 1.645196378e-1f;
    return p * x + 0.5f;
  } else {
    x = at_least(at_most(x, 10.0f), -10.0f);  // beyond, it is 0 or 1 to within 1e-34
    const X e = gelu_exponential<For>(x);
    const X s = 1.0f / (1.0f + e);
    return s + x * (e * s) * s * (1.5957691216057308f + 0.21406443847659f * (x * x));
  }
}

}  // namespace nichelm
