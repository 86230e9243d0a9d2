// CUDA kernels: see slopes.h. Bound by memory: basis, m and v are read and written once.
#include "ops/basis/basis.h"
#include "ops/basis/slopes.h"

#include "cuda/reduce.h"

namespace nichelm {
namespace {

template <int kGroups, int V>
__global__ void __launch_bounds__(kThreads) basis_adamw(const float* dweights, const float* coefficients, const float* clip, const float* schedule, float* basis, float* m, float* v, int groups,
                                                        int64_t h, int64_t size, Factors f) {
  const float* by = coefficients_at<kGroups>(coefficients, groups, h, shared_memory<float>());
  const int64_t at = (int64_t{blockIdx.x} * kThreads + threadIdx.x) * V;
  if (at >= size) return;
  update_matrices(Slopes<kGroups, V>(dweights + at, by, groups, size, h), clip, schedule, basis, m, v, h, size, at, f, [](int64_t, const float (&)[V]) {});
}

// sums: a block's part of |dbasis|², in double.
template <int kGroups, int V>
__global__ void __launch_bounds__(kThreads) basis_squares(const float* dweights, const float* coefficients, double* sums, int groups, int64_t h, int64_t size) {
  double* parts = shared_memory<double>();
  const float* by = coefficients_at<kGroups>(coefficients, groups, h, reinterpret_cast<float*>(parts + kThreads / 32));
  const int64_t at = (int64_t{blockIdx.x} * kThreads + threadIdx.x) * V;
  double sum = 0;
  if (at < size) {
    const Slopes<kGroups, V> slopes(dweights + at, by, groups, size, h);
    for (int64_t r = 0; r < h; ++r) {
      float g[V];
      slopes.of_matrix(r, g);
#pragma unroll
      for (int j = 0; j < V; ++j) sum += static_cast<double>(g[j]) * g[j];
    }
  }
  sum = block_sum(sum, parts);
  if (threadIdx.x == 0) sums[blockIdx.x] = sum;
}

__global__ void __launch_bounds__(kThreads) add_squares(const double* sums, int64_t blocks, float* squares) {
  double sum = 0;
  for (int64_t b = threadIdx.x; b < blocks; b += kThreads) sum += sums[b];
  sum = block_sum(sum, shared_memory<double>());
  if (threadIdx.x == 0) *squares = static_cast<float>(*squares + sum);
}

}  // namespace

template <> void run(Cuda& device, const BasisAdamw& op) {
  const int64_t groups = op.coefficients.shape[0], h = op.coefficients.shape[1], size = op.basis.shape[1] * op.basis.shape[2];
  with_groups(groups, size, [&](auto held, auto v) {
    device.launch("basis_adamw", basis_adamw<held, v>, grid_of(divide_up(size, v * kThreads)), kThreads, static_cast<size_t>(h * held) * sizeof(float), op.dweights.as<const float>(),
                  op.coefficients.as<const float>(), op.clip.as<const float>(), op.schedule.as<const float>(), op.basis.as<float>(), op.m.as<float>(), op.v.as<float>(), static_cast<int>(groups), h,
                  size, Factors{op.beta1, op.beta2, op.epsilon, op.weight_decay});
  });
}

template <> void run(Cuda& device, const BasisNorm& op) {
  const int64_t groups = op.coefficients.shape[0], h = op.coefficients.shape[1], size = op.dweights.shape[1] * op.dweights.shape[2];
  constexpr size_t kParts = kThreads / 32 * sizeof(double);
  with_groups(groups, size, [&](auto held, auto v) {
    const int64_t blocks = divide_up(size, v * kThreads);
    double* sums = device.scratch_of<double>(blocks);
    device.launch("basis_norm", basis_squares<held, v>, grid_of(blocks), kThreads, kParts + static_cast<size_t>(h * held) * sizeof(float), op.dweights.as<const float>(),
                  op.coefficients.as<const float>(), sums, static_cast<int>(groups), h, size);
    device.launch("basis_norm_end", add_squares, dim3(1), kThreads, kParts, sums, blocks, op.squares.as<float>());
  });
}

NICHELM_CUDA_KERNELS(BasisAdamw, BasisNorm)

}  // namespace nichelm
