// CUDA kernel: a block a token, a thread some neighbouring pairs of a head.
#include "ops/rotary_table/rotary_table.h"

#include "ops/rotary/cuda_rotate.h"

namespace nichelm {
namespace {

constexpr int kThreads = 128;

// x, y: (tokens, width).
template <class T, int V>
__global__ void __launch_bounds__(kThreads) rotate_by_table(const T* x, const int32_t* starts, const float* cosine, const float* sine, T* y, int64_t length, int64_t width, int64_t turned, int64_t half, int64_t positions) {
  const int64_t token = blockIdx.x, wanted = token % length - starts[token], place = (wanted < 0 ? 0 : wanted < positions ? wanted : positions - 1) * half;
  rotate_token<T, V, kThreads>(x + token * width, y + token * width, cosine + place, sine + place, static_cast<unsigned>(width), static_cast<unsigned>(turned), static_cast<unsigned>(half));
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
