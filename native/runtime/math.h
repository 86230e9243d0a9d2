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

NICHELM_INLINE float magnitude(float x) { return __builtin_fabsf(x); }
NICHELM_INLINE float magnitude_at_most(float x, float bound) { return at_most(magnitude(x), bound); }  // in registers NaN may give the bound

// The entry of a table whose number stands in the low bits of place.
NICHELM_INLINE float entry(const float (&table)[16], float place) {
  uint32_t bits;
  std::memcpy(&bits, &place, 4);
  return table[bits & 15];
}

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
template <class X> NICHELM_INLINE X gelu_exponential(X x) {
  const X y = -x * (2.302208198144325f + 0.1029432395800235f * (x * x));  // -2u / ln 2
  constexpr float shift = 12582912.0f;
  const X t = y + shift;
  const X f = y - (t - shift);
  return add_exponent(power_of_fraction(f), t);
}

// What is rounded to bf16 in the end needs no more than a few bits beyond those: a function of |x| as 16 parabolas, piece k for what k / 3.5 is nearest to.
// A register holds one coefficient of all pieces and a shuffle looks it up, on units of a CPU that do not multiply. The last piece ends at kParabolasEnd.
struct Parabolas {
  alignas(64) float constant[16], linear[16], square[16];
};
constexpr float kParabolasEnd = 4.42f;
template <class X> NICHELM_INLINE X on_parabolas(const Parabolas& pieces, X a) {
  const X place = a * 3.5f + 12582912.0f;  // the number of the piece stands in the low bits
  return (entry(pieces.square, place) * a + entry(pieces.linear, place)) * a + entry(pieces.constant, place);
}
// Fitted piece by piece by linear programming. gelu(-a) for a >= 0, for least relative error, or error by 3e-5 where it is smaller; 0 at the end.
constexpr Parabolas kGeluTail = {
    {0.0f, -0.00093549f, -0.017049596f, -0.07290564f, -0.17467754f, -0.29631257f, -0.39362717f, -0.43172842f, -0.40208313f, -0.323394f, -0.22607823f, -0.13749039f, -0.07251712f, -0.03298877f, -0.012853721f, 0.011387909f},
    {-0.4999597f, -0.48941454f, -0.415931f, -0.26032397f, -0.056593522f, 0.1334437f, 0.25832483f, 0.30024046f, 0.2731939f, 0.20875256f, 0.1372092f, 0.078198045f, 0.038646076f, 0.016494846f, 0.0060422407f, -0.0054235016f},
    {0.3975484f, 0.3677861f, 0.28324923f, 0.17451076f, 0.07237817f, -0.001922647f, -0.042010892f, -0.053538974f, -0.04737065f, -0.034173653f, -0.02102147f, -0.011192266f, -0.00517206f, -0.0020683205f, -0.00071161607f, 0.0006441293f}};
// (gelu'(a) - 1/2) / a for a >= 0, for least error of gelu'; 1/2 by a at the end.
constexpr Parabolas kGeluSlope = {
    {0.7978948f, 0.79908097f, 0.8141383f, 0.8634256f, 0.94846016f, 1.0405192f, 1.0969056f, 1.0878191f, 1.011004f, 0.8875815f, 0.74812025f, 0.6192112f, 0.51599395f, 0.4414672f, 0.39056483f, 0.33628953f},
    {-0.0003751639f, -0.01224685f, -0.079112835f, -0.21556912f, -0.38574278f, -0.5299933f, -0.60297585f, -0.5941036f, -0.52287835f, -0.4213452f, -0.3184843f, -0.23237003f, -0.16937682f, -0.1275217f, -0.10105475f, -0.07510489f},
    {-0.263934f, -0.23446651f, -0.15970565f, -0.06496131f, 0.02031766f, 0.07687855f, 0.10050374f, 0.09835995f, 0.081844196f, 0.060956832f, 0.04198605f, 0.02760182f, 0.017989226f, 0.012111898f, 0.008671119f, 0.0055688997f}};

// gelu(x) = x/2 (1 + tanh u) = x / (1 + e^-2u); the second form does not cancel where x is negative.
// Error below 8 ulp for x > -2, below 3e-6 |gelu(x)| for x > -5, and below 1e-36 for x <= -10, where it stays at gelu(-10), about -1e-37.
// For bf16, as max(x, 0) + gelu(-|x|), before its rounding (by 2e-3): below 6e-4 |gelu(x)| for x > -2.4, below 2e-5 for all x less.
template <class For = float, class X> NICHELM_INLINE X gelu(X x) {
  if constexpr (sizeof(For) == 2) return at_least(x, 0.0f) + on_parabolas(kGeluTail, magnitude_at_most(x, kParabolasEnd));
  const X above = at_least(x, -10.0f);
  return above / (1.0f + gelu_exponential(at_most(above, 10.0f)));
}

// gelu'(x) = s + x s (1 - s) 2u', s = 1 / (1 + e^-2u), 2u' = 2 sqrt(2/pi) (1 + 3 · 0.044715 x²). Absolute error below 1e-6; inf gives 1, -inf 0.
// For bf16, before its rounding, below 8e-5.
template <class For = float, class X> NICHELM_INLINE X gelu_derivative(X x) {
  if constexpr (sizeof(For) == 2) {
    x = at_least(at_most(x, kParabolasEnd), -kParabolasEnd);
    return x * on_parabolas(kGeluSlope, magnitude(x)) + 0.5f;
  } else {
    x = at_least(at_most(x, 10.0f), -10.0f);  // beyond, it is 0 or 1 to within 1e-34
    const X e = gelu_exponential(x);
    const X s = 1.0f / (1.0f + e);
    return s + x * (e * s) * s * (1.5957691216057308f + 0.21406443847659f * (x * x));
  }
}

}  // namespace nichelm
