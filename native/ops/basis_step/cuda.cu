// CUDA kernel: basis_adamw's (ops/basis/slopes.h) with the next step's weights as sums in registers beside the gradients of this one's: basis, m and v are read and
// written once for both. More groups than there are registers for take the two calls.
#include "ops/basis/slopes.h"
#include "ops/basis_step/calls.h"
#include "ops/project/coefficients.h"

namespace nichelm {

template <> void run(Cuda& device, const BasisAdamw& op);
template <> void run(Cuda& device, const Project& op);

namespace {

// Coefficients of both steps lie in shared memory; beyond this much too few blocks would run at once.
constexpr int64_t kMostShared = 96 << 10;

template <int kGroups, int V, class T>
__global__ void __launch_bounds__(kThreads) basis_step(const float* dweights, const float* coefficients, const float* next, const float* clip, const float* schedule, float* basis, float* m, float* v,
                                                       T* weights, int groups, int64_t h, int64_t size, Factors f) {
  float *by = shared_memory<float>(), *next_by = by + h * kGroups;
  load_coefficients<kGroups>(by, coefficients, groups, h);
  load_coefficients<kGroups>(next_by, next, groups, h);
  const int64_t at = (int64_t{blockIdx.x} * kThreads + threadIdx.x) * V;
  if (at >= size) return;
  float sums[kGroups][V] = {};
  update_matrices(Slopes<kGroups, V>(dweights + at, by, groups, size, h), clip, schedule, basis, m, v, h, size, at, f, [&](int64_t r, const float (&p)[V]) {
#pragma unroll
    for (int g = 0; g < kGroups; ++g)
#pragma unroll
      for (int j = 0; j < V; ++j) sums[g][j] = fmaf(next_by[r * kGroups + g], p[j], sums[g][j]);  // as project's
  });
#pragma unroll
  for (int g = 0; g < kGroups; ++g)
    if (g < groups) store_vector<V>(sums[g], weights + g * size + at);
}

template <class T> void step(Cuda& device, const BasisStep& op) {
  const int64_t groups = op.ids.size(), k = op.experts.shape[0], m = op.mix.shape[0], h = op.mix.shape[1], size = op.basis.shape[1] * op.basis.shape[2];
  with_groups(groups, size, [&](auto held, auto v) {
    constexpr int kHeld = held;
    const int64_t shared = 2 * h * kHeld * static_cast<int64_t>(sizeof(float));
    if constexpr (kHeld > 0) {
      if (shared <= kMostShared) {
        float* before = device.scratch_of<float>(groups * h);
        device.launch("basis_step_coefficients", find_coefficients, grid_of(groups), kCoefficientThreads, 0, op.experts.as<const float>(), op.mix.as<const float>(), op.ids.as<const int32_t>(),
                      op.coefficients.as<float>(), before, k, m, h, op.scale);
        device.launch("basis_step", basis_step<kHeld, v, T>, grid_of(divide_up(size, v * kThreads)), kThreads, static_cast<size_t>(shared), op.dweights.as<const float>(), before,
                      op.coefficients.as<const float>(), op.clip.as<const float>(), op.schedule.as<const float>(), op.basis.as<float>(), op.m.as<float>(), op.v.as<float>(), op.weights.as<T>(),
                      static_cast<int>(groups), h, size, Factors{op.beta1, op.beta2, op.epsilon, op.weight_decay});
        return;
      }
    }
    run(device, update_of(op));
    run(device, projection_of(op));
  });
}

}  // namespace

template <> void run(Cuda& device, const BasisStep& op) { op.weights.type == Type::bf16 ? step<Bf16>(device, op) : step<float>(device, op); }

NICHELM_CUDA_KERNELS(BasisStep)

}  // namespace nichelm
