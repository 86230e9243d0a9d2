// CUDA kernels: a table of cosines and sines for every position, in double, since angles of thousands of radians must keep f32's precision; then a
// block a token, a thread some neighbouring pairs of a head.
#include "ops/rotary/rotary.h"

#include "ops/rotary/cuda_rotate.h"

namespace nichelm {
namespace {

constexpr int kThreads = 128;

// cosine, sine: (length, half)
__global__ void __launch_bounds__(kThreads) fill_table(float* cosine, float* sine, int64_t size, int64_t half, double theta, bool inverse) {
  const int64_t at = int64_t{blockIdx.x} * kThreads + threadIdx.x;
  if (at >= size) return;
  const double angle = static_cast<double>(at / half) * pow(theta, -static_cast<double>(at % half) / static_cast<double>(half));
  cosine[at] = static_cast<float>(cos(angle));
  sine[at] = static_cast<float>(inverse ? -sin(angle) : sin(angle));
}

// x, y: (tokens, width).
template <class T, int V>
__global__ void __launch_bounds__(kThreads) rotate(const T* x, const int32_t* starts, T* y, const float* cosine, const float* sine, int64_t length, int64_t width, int64_t turned, int64_t half) {
  const int64_t token = blockIdx.x, t = token % length, start = starts[token];
  const int64_t place = (t - (start < 0 ? 0 : start > t ? t : start)) * half;  // a caller's slip must not read out of bounds
  rotate_token<T, V, kThreads>(x + token * width, y + token * width, cosine + place, sine + place, static_cast<unsigned>(width), static_cast<unsigned>(turned), static_cast<unsigned>(half));
}

template <class T> void rotary(Cuda& device, const Rotary& op) {
  const int64_t width = op.x.width(), length = op.starts.width(), turned = op.heads + op.kv_heads, half = width / (turned + op.kv_heads) / 2, size = length * half;
  float* cosine = device.scratch_of<float>(2 * size);
  device.launch("rotary_table", fill_table, grid_of(divide_up(size, kThreads)), kThreads, 0, cosine, cosine + size, size, half, op.theta, op.inverse);
  with_vector<T>(half, [&](auto v) {
    device.launch("rotary", rotate<T, v>, grid_of(op.x.rows()), kThreads, 0, op.x.as<const T>(), op.starts.as<const int32_t>(), op.y.as<T>(), cosine, cosine + size, length, width, turned, half);
  });
}

}  // namespace

template <> void run(Cuda& device, const Rotary& op) { op.x.type == Type::bf16 ? rotary<Bf16>(device, op) : rotary<float>(device, op); }

NICHELM_CUDA_KERNELS(Rotary)

}  // namespace nichelm
