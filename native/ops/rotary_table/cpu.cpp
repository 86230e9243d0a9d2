// CPU kernel: tokens over threads, columns vectorised by the compiler.
#include "ops/rotary_table/rotary_table.h"
#include "ops/small.h"
#include "runtime/bf16.h"
#include "runtime/cpu.h"

namespace nichelm {
namespace {

// One head of one token: x, y (2 half). y may lie on x: a pair is read before it is written.
template <class T> void rotate(const T* x, T* y, const float* cosine, const float* sine, int64_t half) {
#pragma GCC ivdep
  for (int64_t i = 0; i < half; ++i) {
    const float a = widen(x[i]), b = widen(x[i + half]);
    narrow(a * cosine[i] - b * sine[i], y[i]);
    narrow(b * cosine[i] + a * sine[i], y[i + half]);
  }
}

template <class T> void rotary_table(Cpu& device, const RotaryTable& op) {
  const int64_t width = op.x.width(), length = op.starts.width(), turned = op.heads + op.kv_heads, half = op.cosine.width(), d = 2 * half, positions = op.cosine.rows();
  const T* x = op.x.as<T>();
  T* y = op.y.as<T>();
  const int32_t* starts = op.starts.as<int32_t>();
  split_elements(device, op.x.rows(), op.x.size(), [=, cosine = op.cosine.as<float>(), sine = op.sine.as<float>()](int64_t first, int64_t last) {
    for (int64_t token = first; token < last; ++token) {
      const T* from = x + token * width;
      T* to = y + token * width;
      const int64_t wanted = token % length - starts[token], at = (wanted < 0 ? 0 : wanted < positions ? wanted : positions - 1) * half;
      for (int64_t h = 0; h < turned; ++h) rotate(from + h * d, to + h * d, cosine + at, sine + at, half);
      if (from != to) std::memcpy(to + turned * d, from + turned * d, static_cast<size_t>(width - turned * d) * sizeof(T));
    }
  });
}

}  // namespace

template <> void run(cpu::NICHELM_ISA& device, const RotaryTable& op) { op.x.type == Type::bf16 ? rotary_table<Bf16>(device, op) : rotary_table<float>(device, op); }

}  // namespace nichelm
