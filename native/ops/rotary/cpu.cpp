// CPU kernel: a table of cosines and sines for every position, then tokens over threads, columns vectorised by the compiler.
#include <cmath>

#include "ops/rotary/rotary.h"
#include "runtime/bf16.h"
#include "runtime/cpu.h"

namespace nichelm {
namespace {

constexpr int64_t kRun = 64;  // positions that one call of sin and cos serves

// cosine, sine: (length, half). In double, position by position from the last by the addition theorem, afresh every kRun positions:
// angles of thousands of radians keep f32's precision.
void fill_table(Cpu& device, int64_t length, int64_t half, double theta, bool inverse, float* cosine, float* sine) {
  device.split((length + kRun - 1) / kRun, [=](int64_t first, int64_t last) {
    for (int64_t t = first * kRun; t < length && t < last * kRun; t += kRun)
      for (int64_t i = 0; i < half; ++i) {
        const double angle = std::pow(theta, -double(i) / double(half)) * (inverse ? -1 : 1);
        const double c1 = std::cos(angle), s1 = std::sin(angle);
        double c = std::cos(angle * double(t)), s = std::sin(angle * double(t));
        for (int64_t p = t; p < length && p < t + kRun; ++p) {
          cosine[p * half + i] = static_cast<float>(c), sine[p * half + i] = static_cast<float>(s);
          const double next = c * c1 - s * s1;
          s = s * c1 + c * s1, c = next;
        }
      }
  });
}

// One head of one token: x, y (2 half). y may lie on x: a pair is read before it is written.
template <class T> void rotate(const T* x, T* y, const float* cosine, const float* sine, int64_t half) {
#pragma GCC ivdep
  for (int64_t i = 0; i < half; ++i) {
    const float a = widen(x[i]), b = widen(x[i + half]);
    narrow(a * cosine[i] - b * sine[i], y[i]);
    narrow(b * cosine[i] + a * sine[i], y[i + half]);
  }
}

template <class T> void rotary(Cpu& device, const Rotary& op) {
  const int64_t width = op.x.width(), length = op.starts.width(), turned = op.heads + op.kv_heads, d = width / (turned + op.kv_heads), half = d / 2;
  const T* x = op.x.as<T>();
  T* y = op.y.as<T>();
  const int32_t* starts = op.starts.as<int32_t>();
  float* cosine = static_cast<float*>(device.shared_scratch(2 * length * half * int64_t{sizeof(float)}, 0));
  float* sine = cosine + length * half;
  fill_table(device, length, half, op.theta, op.inverse, cosine, sine);
  device.split(op.x.rows(), [=](int64_t first, int64_t last) {
    for (int64_t token = first; token < last; ++token) {
      const T* from = x + token * width;
      T* to = y + token * width;
      const int64_t t = token % length, start = starts[token] < 0 ? 0 : starts[token] > t ? t : starts[token];  // a caller's slip must not read out of bounds
      const int64_t at = (t - start) * half;
      for (int64_t h = 0; h < turned; ++h) rotate(from + h * d, to + h * d, cosine + at, sine + at, half);
      if (from != to)
        for (int64_t i = turned * d; i < width; ++i) to[i] = from[i];
    }
  });
}

}  // namespace

template <> void run(cpu::NICHELM_ISA& device, const Rotary& op) { op.x.type == Type::bf16 ? rotary<Bf16>(device, op) : rotary<float>(device, op); }

}  // namespace nichelm
