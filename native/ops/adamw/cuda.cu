// CUDA kernel: one pass over the parameters, four neighbours a thread. It is bound by memory: 28 bytes a parameter, 30 with the copy.
// Operations are in PyTorch's order, so that f32 rounds alike.
#include "ops/adamw/adamw.h"

#include "cuda/vector.h"

namespace nichelm {
namespace {

constexpr int kThreads = 256, kEach = 4;

struct Factors { float beta1, beta2, epsilon, weight_decay; };

__device__ __forceinline__ float updated(const Factors& f, float clip, float rate, float step, float over_root_c2, float gradient, float p, float& m, float& v) {
  const float g = clip * gradient;
  m += (1 - f.beta1) * (g - m);
  v = f.beta2 * v + (1 - f.beta2) * g * g;
  return p * (1 - rate * f.weight_decay) - step * (m / (sqrtf(v) * over_root_c2 + f.epsilon));
}

// clip: (1); schedule: (3): rate, c1, c2; the others (n). copy may be null.
__global__ void __launch_bounds__(kThreads) adamw(const float* gradient, const float* clip, const float* schedule, float* p, float* m, float* v, Bf16* copy, int64_t n, Factors f) {
  const int64_t i = (int64_t{blockIdx.x} * kThreads + threadIdx.x) * kEach;
  const float rate = schedule[0], step = rate / schedule[1], over_root_c2 = 1 / sqrtf(schedule[2]), by = clip[0];
  if (i + kEach <= n) {
    float g[kEach], x[kEach], first[kEach], second[kEach];
    load_vector<kEach>(gradient + i, g), load_vector<kEach>(p + i, x), load_vector<kEach>(m + i, first), load_vector<kEach>(v + i, second);
#pragma unroll
    for (int j = 0; j < kEach; ++j) x[j] = updated(f, by, rate, step, over_root_c2, g[j], x[j], first[j], second[j]);
    store_vector<kEach>(x, p + i), store_vector<kEach>(first, m + i), store_vector<kEach>(second, v + i);
    if (copy) store_vector<kEach>(x, copy + i);
  } else {
    for (int64_t j = i; j < n; ++j) {
      p[j] = updated(f, by, rate, step, over_root_c2, gradient[j], p[j], m[j], v[j]);
      if (copy) narrow(p[j], copy[j]);
    }
  }
}

}  // namespace

template <> void run(Cuda& device, const Adamw& op) {
  const int64_t n = op.p.size();
  device.launch("adamw", adamw, grid_of(divide_up(n, kEach * kThreads)), kThreads, 0, op.gradient.as<const float>(), op.clip.as<const float>(), op.schedule.as<const float>(), op.p.as<float>(),
                op.m.as<float>(), op.v.as<float>(), op.copy.as<Bf16>(), n, Factors{op.beta1, op.beta2, op.epsilon, op.weight_decay});
}

NICHELM_CUDA_KERNELS(Adamw)

}  // namespace nichelm
