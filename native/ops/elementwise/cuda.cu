// CUDA kernels: a thread takes neighbouring elements, 16 bytes of the wider type, so a warp reads and writes whole lines.
#include "ops/elementwise/elementwise.h"

#include "cuda/vector.h"
#include "runtime/math.h"

namespace nichelm {
namespace {

constexpr int kThreads = 256;

// What is done with an element of a (and b).
struct Same { __device__ float operator()(float a, float) const { return a; } };
struct Constant { float value; __device__ float operator()(float, float) const { return value; } };
struct Sum { __device__ float operator()(float a, float b) const { return a + b; } };
struct Times { float factor; __device__ float operator()(float a, float) const { return factor * a; } };
struct GeluOf { __device__ float operator()(float a, float) const { return gelu(a); } };
struct GeluSlope { __device__ float operator()(float dy, float x) const { return dy * gelu_derivative(x); } };

// y[i] = act(a[i], b[i]); a and b may be null. y may lie on either: an element is read before it is written, by the thread that writes it.
template <int V, class From, class To, class Act> __global__ void __launch_bounds__(kThreads) map_elements(const From* a, const From* b, To* y, int64_t size, Act act) {
  const int64_t i = (int64_t{blockIdx.x} * kThreads + threadIdx.x) * V;
  if (i + V <= size) {
    float x[V] = {}, z[V] = {};
    if (a) load_vector<V>(a + i, x);
    if (b) load_vector<V>(b + i, z);
#pragma unroll
    for (int j = 0; j < V; ++j) x[j] = act(x[j], z[j]);
    store_vector<V>(x, y + i);
  } else {
    for (int64_t j = i; j < size; ++j) narrow(act(a ? widen(a[j]) : 0, b ? widen(b[j]) : 0), y[j]);
  }
}

template <class From, class To, class Act> void map(Cuda& device, const char* name, const Tensor& a, const Tensor& b, const Tensor& y, Act act) {
  constexpr int V = kVector<From> < kVector<To> ? kVector<From> : kVector<To>;
  device.launch(name, map_elements<V, From, To, Act>, grid_of(divide_up(y.size(), V * kThreads)), kThreads, 0, a.as<const From>(), b.as<const From>(), y.as<To>(), y.size(), act);
}
template <class Act> void map(Cuda& device, const char* name, const Tensor& a, const Tensor& b, const Tensor& y, Act act) {
  y.type == Type::bf16 ? map<Bf16, Bf16>(device, name, a, b, y, act) : map<float, float>(device, name, a, b, y, act);
}

}  // namespace

template <> void run(Cuda& device, const Fill& op) { map(device, "fill", Tensor{}, Tensor{}, op.y, Constant{op.value}); }

template <> void run(Cuda& device, const Cast& op) {
  const bool from_bf16 = op.x.type == Type::bf16, to_bf16 = op.y.type == Type::bf16;
  if (from_bf16) to_bf16 ? map<Bf16, Bf16>(device, "cast", op.x, Tensor{}, op.y, Same{}) : map<Bf16, float>(device, "cast", op.x, Tensor{}, op.y, Same{});
  else to_bf16 ? map<float, Bf16>(device, "cast", op.x, Tensor{}, op.y, Same{}) : map<float, float>(device, "cast", op.x, Tensor{}, op.y, Same{});
}

template <> void run(Cuda& device, const Add& op) { map(device, "add", op.a, op.b, op.y, Sum{}); }
template <> void run(Cuda& device, const Scale& op) { map(device, "scale", op.x, Tensor{}, op.y, Times{op.factor}); }
template <> void run(Cuda& device, const Gelu& op) { map(device, "gelu", op.x, Tensor{}, op.y, GeluOf{}); }
template <> void run(Cuda& device, const GeluGradient& op) { map(device, "gelu_gradient", op.dy, op.x, op.dx, GeluSlope{}); }

NICHELM_CUDA_KERNELS(Fill, Cast, Add, Scale, Gelu, GeluGradient)

}  // namespace nichelm
