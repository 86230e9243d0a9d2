// CUDA kernels: a row is cut into pieces of one block each; a thread takes neighbouring columns of gate and up.
#include "ops/swiglu/swiglu.h"

#include "cuda/vector.h"
#include "runtime/math.h"

namespace nichelm {
namespace {

constexpr int kThreads = 128;

// x: (rows, 2 hidden); y: (rows, hidden)
template <class T, int V> __global__ void __launch_bounds__(kThreads) forward(const T* x, T* y, int64_t hidden, unsigned pieces) {
  const int64_t row = blockIdx.x / pieces, i = (int64_t{blockIdx.x % pieces} * kThreads + threadIdx.x) * V;
  if (i >= hidden) return;
  const T* gate = x + row * 2 * hidden + i;
  float a[V], b[V];
  load_vector<V>(gate, a), load_vector<V>(gate + hidden, b);
#pragma unroll
  for (int j = 0; j < V; ++j) a[j] = a[j] * sigmoid(a[j]) * b[j];
  store_vector<V>(a, y + row * hidden + i);
}

// silu'(a) = s (1 + a (1 - s)) with s = sigmoid(a). dx may lie on x: a thread reads its pairs before it writes them.
template <class T, int V> __global__ void __launch_bounds__(kThreads) backward(const T* dy, const T* x, T* dx, int64_t hidden, unsigned pieces) {
  const int64_t row = blockIdx.x / pieces, i = (int64_t{blockIdx.x % pieces} * kThreads + threadIdx.x) * V;
  if (i >= hidden) return;
  const int64_t gate = row * 2 * hidden + i;
  float a[V], b[V], g[V];
  load_vector<V>(x + gate, a), load_vector<V>(x + gate + hidden, b), load_vector<V>(dy + row * hidden + i, g);
#pragma unroll
  for (int j = 0; j < V; ++j) {
    const float s = sigmoid(a[j]), slope = s * (1 + a[j] * (1 - s));
    b[j] *= g[j] * slope;
    a[j] *= g[j] * s;
  }
  store_vector<V>(b, dx + gate), store_vector<V>(a, dx + gate + hidden);
}

template <class T> void run_forward(Cuda& device, const Swiglu& op) {
  const int64_t hidden = op.y.width();
  with_vector<T>(hidden, [&](auto v) {
    const int64_t pieces = divide_up(hidden, v * kThreads);
    device.launch("swiglu", forward<T, v>, grid_of(op.x.rows() * pieces), kThreads, 0, op.x.as<const T>(), op.y.as<T>(), hidden, pieces);
  });
}
template <class T> void run_backward(Cuda& device, const SwigluGradient& op) {
  const int64_t hidden = op.dy.width();
  with_vector<T>(hidden, [&](auto v) {
    const int64_t pieces = divide_up(hidden, v * kThreads);
    device.launch("swiglu_gradient", backward<T, v>, grid_of(op.x.rows() * pieces), kThreads, 0, op.dy.as<const T>(), op.x.as<const T>(), op.dx.as<T>(), hidden, pieces);
  });
}

}  // namespace

template <> void run(Cuda& device, const Swiglu& op) { op.x.type == Type::bf16 ? run_forward<Bf16>(device, op) : run_forward<float>(device, op); }
template <> void run(Cuda& device, const SwigluGradient& op) { op.x.type == Type::bf16 ? run_backward<Bf16>(device, op) : run_backward<float>(device, op); }

NICHELM_CUDA_KERNELS(Swiglu, SwigluGradient)

}  // namespace nichelm
