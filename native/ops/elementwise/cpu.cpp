// CPU kernels: fixed blocks of elements over threads, vectorised by the compiler; where the arithmetic is long, several registers at once.
#include "ops/elementwise/elementwise.h"
#include "ops/streaming.h"
#include "runtime/bf16.h"
#include "runtime/cpu.h"
#include "runtime/several.h"

namespace nichelm {
namespace {

// An element is in the same place of a vector whatever the number of threads, so it is computed alike.
constexpr int64_t kBlock = 1024;
constexpr int64_t kAhead = 1024;  // elements that are asked for before they are needed, where the arithmetic is long; no nearer than the second cache, or loads wait behind them

template <class Body> void blocks(Cpu& device, int64_t size, const Body& body) {
  device.split((size + kBlock - 1) / kBlock, [&](int64_t first, int64_t last) {
    const int64_t end = last * kBlock < size ? last * kBlock : size;
    body(first * kBlock, end);
  });
}

// An output may lie on an input: each element is read before it is written.
template <class T> void fill(Cpu& device, const Fill& op) {
  T* y = op.y.as<T>();
  T value;
  narrow(op.value, value);
  blocks(device, op.y.size(), [=](int64_t first, int64_t last) {
    for (int64_t i = first; i < last; ++i) y[i] = value;
  });
}

template <class From, class To> void cast(Cpu& device, const Cast& op) {
  const From* x = op.x.as<From>();
  To* y = op.y.as<To>();
  blocks(device, op.x.size(), [=](int64_t first, int64_t last) {
    for (int64_t i = first; i < last; ++i) narrow(widen(x[i]), y[i]);
  });
}

template <class T> void scale(Cpu& device, const Scale& op) {
  const T* x = op.x.as<T>();
  T* y = op.y.as<T>();
  const float factor = op.factor;
  blocks(device, op.y.size(), [=](int64_t first, int64_t last) {
#pragma GCC ivdep
    for (int64_t i = first; i < last; ++i) narrow(widen(x[i]) * factor, y[i]);
  });
}

// over_several over all elements, whose results go to where kStore says.
template <Store kStore, class Body> void registers(Cpu& device, int64_t size, const Body& body) {
  static_assert(kBlock % (kSeveral * kLanes) == 0);
  blocks(device, size, [&](int64_t first, int64_t last) {
    over_several(first, last, body);
    drain<kStore>();
  });
}

// with_store, of f32: in bf16 stores past the caches take a tenth longer.
template <class T, class Body, class... Operands> void with_store_of(Cpu& device, const Tensor& y, const Body& body, const Operands&... operands) {
  if constexpr (sizeof(T) == 4) with_store(device, y, body, operands...);
  else body(std::integral_constant<Store, Store::cached>{});
}

// In bf16 a plain loop, which keeps results that are subnormal.
template <class T> void add(Cpu& device, const Add& op) {
  const T *a = op.a.as<T>(), *b = op.b.as<T>();
  T* y = op.y.as<T>();
  if constexpr (sizeof(T) == 4) {
    with_store(device, op.y, [&](auto where) {
      registers<where()>(device, op.y.size(), [=](int64_t i, auto lanes, auto n) NICHELM_INLINE_LAMBDA { store_several<where()>(load_several<n()>(a + i, lanes) + load_several<n()>(b + i, lanes), y + i, lanes); });
    }, op.a, op.b);
  } else {
    blocks(device, op.y.size(), [=](int64_t first, int64_t last) {
#pragma GCC ivdep
      for (int64_t i = first; i < last; ++i) narrow(widen(a[i]) + widen(b[i]), y[i]);
    });
  }
}

template <class T> void gelu_forward(Cpu& device, const Gelu& op) {
  const T* x = op.x.as<T>();
  T* y = op.y.as<T>();
  with_store_of<T>(device, op.y, [&](auto where) {
    registers<where()>(device, op.y.size(), [=](int64_t i, auto lanes, auto n) NICHELM_INLINE_LAMBDA {
      fetch_several<n(), 2>(x + i + kAhead);
      store_several<where()>(gelu<T>(load_several<n()>(x + i, lanes)), y + i, lanes);
    });
  }, op.x);
}

template <class T> void gelu_backward(Cpu& device, const GeluGradient& op) {
  const T *dy = op.dy.as<T>(), *x = op.x.as<T>();
  T* dx = op.dx.as<T>();
  with_store_of<T>(device, op.dx, [&](auto where) {
    registers<where()>(device, op.dx.size(), [=](int64_t i, auto lanes, auto n) NICHELM_INLINE_LAMBDA {
      fetch_several<n(), 2>(x + i + kAhead), fetch_several<n(), 2>(dy + i + kAhead);
      if constexpr (sizeof(T) == 4 && where() == Store::cached) fetch_several<n(), 2>(dx + i + kAhead);
      store_several<where()>(load_several<n()>(dy + i, lanes) * gelu_derivative<T>(load_several<n()>(x + i, lanes)), dx + i, lanes);
    });
  }, op.x, op.dy);
}

}  // namespace

template <> void run(cpu::NICHELM_ISA& device, const Fill& op) { op.y.type == Type::bf16 ? fill<Bf16>(device, op) : fill<float>(device, op); }

template <> void run(cpu::NICHELM_ISA& device, const Cast& op) {
  const bool from_bf16 = op.x.type == Type::bf16, to_bf16 = op.y.type == Type::bf16;
  if (from_bf16) to_bf16 ? cast<Bf16, Bf16>(device, op) : cast<Bf16, float>(device, op);
  else to_bf16 ? cast<float, Bf16>(device, op) : cast<float, float>(device, op);
}

template <> void run(cpu::NICHELM_ISA& device, const Add& op) { op.y.type == Type::bf16 ? add<Bf16>(device, op) : add<float>(device, op); }

template <> void run(cpu::NICHELM_ISA& device, const Scale& op) { op.y.type == Type::bf16 ? scale<Bf16>(device, op) : scale<float>(device, op); }

template <> void run(cpu::NICHELM_ISA& device, const Gelu& op) { op.y.type == Type::bf16 ? gelu_forward<Bf16>(device, op) : gelu_forward<float>(device, op); }

template <> void run(cpu::NICHELM_ISA& device, const GeluGradient& op) {
  op.dx.type == Type::bf16 ? gelu_backward<Bf16>(device, op) : gelu_backward<float>(device, op);
}

}  // namespace nichelm
