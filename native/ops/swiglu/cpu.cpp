// CPU kernels: rows over threads, columns vectorised by the compiler.
#include "ops/small.h"
#include "ops/swiglu/swiglu.h"
#include "runtime/bf16.h"
#include "runtime/cpu.h"
#include "runtime/math.h"

namespace nichelm {
namespace {

template <class T> void forward(Cpu& device, const Swiglu& op) {
  const int64_t hidden = op.y.width();
  const T* x = op.x.as<T>();
  T* y = op.y.as<T>();
  split_elements(device, op.x.rows(), op.x.size(), [=](int64_t first, int64_t last) {
    for (int64_t r = first; r < last; ++r) {
      const T *gate = x + r * 2 * hidden, *up = gate + hidden;
      T* __restrict out = y + r * hidden;
      for (int64_t i = 0; i < hidden; ++i) {
        const float a = widen(gate[i]);
        narrow(a * sigmoid(a) * widen(up[i]), out[i]);
      }
    }
  });
}

// silu'(a) = s (1 + a (1 - s)) with s = sigmoid(a). dx may lie on x: a pair is read before it is written.
template <class T> void backward(Cpu& device, const SwigluGradient& op) {
  const int64_t hidden = op.dy.width();
  const T *x = op.x.as<T>(), *dy = op.dy.as<T>();
  T* dx = op.dx.as<T>();
  device.split(op.x.rows(), [=](int64_t first, int64_t last) {
    for (int64_t r = first; r < last; ++r) {
      const T *gate = x + r * 2 * hidden, *up = gate + hidden, *slope = dy + r * hidden;
      T *dgate = dx + r * 2 * hidden, *dup = dgate + hidden;
#pragma GCC ivdep
      for (int64_t i = 0; i < hidden; ++i) {
        const float a = widen(gate[i]), b = widen(up[i]), g = widen(slope[i]), s = sigmoid(a);
        narrow(g * b * s * (1 + a * (1 - s)), dgate[i]);
        narrow(g * a * s, dup[i]);
      }
    }
  });
}

}  // namespace

template <> void run(cpu::NICHELM_ISA& device, const Swiglu& op) { op.x.type == Type::bf16 ? forward<Bf16>(device, op) : forward<float>(device, op); }
template <> void run(cpu::NICHELM_ISA& device, const SwigluGradient& op) { op.x.type == Type::bf16 ? backward<Bf16>(device, op) : backward<float>(device, op); }

}  // namespace nichelm
