// exp, tanh, sigmoid and gelu in f32 as straight-line code, so that a loop over them becomes vector code. Errors are against the exact
// value, in units in the last place (ulp), over the whole range (runtime/math_test.cpp measures them). NaN gives NaN.
// The polynomials of exp and tanh are those of Cephes (Moshier, netlib.org/cephes, expf and tanhf).
#pragma once
#include <cstdint>
#include <cstring>

#include "runtime/bf16.h"

namespace nichelm {

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

// 1 / (1 + e^-x), 3 ulp; below -88.7, where the result would be subnormal, 0.
NICHELM_INLINE float sigmoid(float x) { return 1.0f / (1.0f + exp_fast(-x)); }

// tanh x, 2 ulp.
NICHELM_INLINE float tanh_fast(float x) {
  const float magnitude = __builtin_fabsf(x);
  const float far = 1.0f - 2.0f / (exp_fast(2.0f * magnitude) + 1.0f);
  const float z = x * x;
  float p = -5.70498872745e-3f;
  p = p * z + 2.06390887954e-2f;
  p = p * z - 5.37397155531e-2f;
  p = p * z + 1.33314422036e-1f;
  p = p * z - 3.33332819422e-1f;
  const float near = p * z * x + x;
  return magnitude < 0.625f ? near : __builtin_copysignf(far, x);
}

// gelu(x) = x/2 (1 + tanh u) = x sigmoid(2u), u = sqrt(2/pi) (x + 0.044715 x³); the second form does not cancel where x is negative.
// Error below 8 ulp for x > -2, below 2e-6 |gelu(x)| for x > -5, and below 1e-37 further out, where gelu goes to 0. -inf gives NaN, as the formula does.
NICHELM_INLINE float gelu(float x) {
  const float twice_u = x * (1.5957691216057308f + 0.07135481282553f * (x * x));
  return x * sigmoid(twice_u);
}

// gelu'(x) = s + x s (1 - s) 2u', s = sigmoid(2u), 2u' = 2 sqrt(2/pi) (1 + 3 · 0.044715 x²). Absolute error below 1e-6. inf gives 1, -inf 0.
NICHELM_INLINE float gelu_derivative(float x) {
  x = x > 10.0f ? 10.0f : x;  // beyond, it is 0 or 1 to within 1e-34, and no factor below overflows
  x = x < -10.0f ? -10.0f : x;
  const float square = x * x;
  const float e = exp_fast(-x * (1.5957691216057308f + 0.07135481282553f * square));
  const float s = 1.0f / (1.0f + e);
  return s + x * (e * s) * s * (1.5957691216057308f + 0.21406443847659f * square);
}

}  // namespace nichelm
