// CUDA kernel: a block a token, a thread some neighbouring pairs of a head.
#include "ops/rotary_table/rotary_table.h"

#include "cuda/vector.h"

namespace nichelm {
namespace {

constexpr int kThreads = 128;

// x, y: (tokens, width), width = (turned + kv_heads) 2 half. y may lie on x: a pair is read before it is written.
template <class T, int V>
__global__ void __launch_bounds__(kThreads) rotate_by_table(const T* x, const int32_t* starts, const float* cosine, const float* sine, T* y, int64_t length, int64_t width, int64_t turned, int64_t half, int64_t positions) {
  const int64_t token = blockIdx.x, wanted = token % length - starts[token], place = (wanted < 0 ? 0 : wanted < positions ? wanted : positions - 1) * half;
  x += token * width, y += token * width;
  for (int64_t p = threadIdx.x * V; p < turned * half; p += kThreads * V) {
    const int64_t i = p % half, at = p / half * 2 * half + i;
    float a[V], b[V], above[V], below[V];
    load_vector<V>(x + at, a), load_vector<V>(x + at + half, b);
#pragma unroll
    for (int j = 0; j < V; ++j) {
      const float c = cosine[place + i + j], s = sine[place + i + j];
      above[j] = a[j] * c - b[j] * s;
      below[j] = b[j] * c + a[j] * s;
    }
    store_vector<V>(above, y + at), store_vector<V>(below, y + at + half);
  }
  if (x == y) return;
  for (int64_t i = turned * 2 * half + threadIdx.x * V; i < width; i += kThreads * V) {
    float v[V];
    load_vector<V>(x + i, v), store_vector<V>(v, y + i);
  }
}

template <class T> void rotate(Cuda& device, const RotaryTable& op) {
  with_vector<T>(op.cosine.width(), [&](auto v) {
    device.launch("rotary_table", rotate_by_table<T, v>, grid_of(op.x.rows()), kThreads, 0, op.x.as<const T>(), op.starts.as<const int32_t>(), op.cosine.as<const float>(), op.sine.as<const float>(), op.y.as<T>(),
                  op.starts.width(), op.x.width(), op.heads + op.kv_heads, op.cosine.width(), op.cosine.rows());
  });
}

}  // namespace

template <> void run(Cuda& device, const RotaryTable& op) { op.x.type == Type::bf16 ? rotate<Bf16>(device, op) : rotate<float>(device, op); }

NICHELM_CUDA_KERNELS(RotaryTable)

}  // namespace nichelm
