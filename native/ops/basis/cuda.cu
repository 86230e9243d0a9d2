// CUDA kernels: a thread owns an element or two of every matrix of the basis. It keeps the groups' gradients there in registers and forms that of one matrix
// after the other: dbasis is never stored, and no thread needs another's sums. Bound by memory: basis, m and v are read and written once.
#include "ops/basis/basis.h"

#include "cuda/reduce.h"
#include "cuda/vector.h"

namespace nichelm {
namespace {

constexpr int kThreads = 128, kMostGroups = 32;

// coefficients (groups, h) to shared memory as (h, kGroups), zeros for groups that there are not.
template <int kGroups> __device__ __forceinline__ void load_coefficients(float* by, const float* coefficients, int groups, int64_t h) {
  for (int64_t i = threadIdx.x; i < h * kGroups; i += kThreads) by[i] = i % kGroups < groups ? coefficients[i % kGroups * h + i / kGroups] : 0;
  __syncthreads();
}

// The gradients of up to kGroups groups at V elements, and what they make of matrix r. With kGroups 0 there are more groups than registers: they are read again
// for every matrix.
template <int kGroups, int V> struct Slopes {
  const float *dweights, *by;
  int groups;
  int64_t size, h;
  float held[kGroups ? kGroups : 1][V];

  __device__ __forceinline__ Slopes(const float* dweights, const float* by, int groups, int64_t size, int64_t h) : dweights(dweights), by(by), groups(groups), size(size), h(h) {
#pragma unroll
    for (int g = 0; g < kGroups; ++g) {
#pragma unroll
      for (int j = 0; j < V; ++j) held[g][j] = 0;
      if (g < groups) load_vector<V>(dweights + g * size, held[g]);
    }
  }
  __device__ __forceinline__ void of_matrix(int64_t r, float (&slope)[V]) const {
#pragma unroll
    for (int j = 0; j < V; ++j) slope[j] = 0;
    if (kGroups) {
#pragma unroll
      for (int g = 0; g < kGroups; ++g)
#pragma unroll
        for (int j = 0; j < V; ++j) slope[j] += g < groups ? by[r * kGroups + g] * held[g][j] : 0;
    } else {
      for (int g = 0; g < groups; ++g) {
        float x[V];
        load_vector<V>(dweights + g * size, x);
#pragma unroll
        for (int j = 0; j < V; ++j) slope[j] += by[g * h + r] * x[j];
      }
    }
  }
};
// Where the coefficients are: in shared memory, or with kGroups 0 as they lie.
template <int kGroups> __device__ __forceinline__ const float* coefficients_at(const float* coefficients, int groups, int64_t h, float* shared) {
  if (!kGroups) return coefficients;
  load_coefficients<kGroups ? kGroups : 1>(shared, coefficients, groups, h);
  return shared;
}

struct Factors { float beta1, beta2, epsilon, weight_decay; };

// Operations are in PyTorch's order, as in adamw.
template <int kGroups, int V>
__global__ void __launch_bounds__(kThreads) basis_adamw(const float* dweights, const float* coefficients, const float* clip, const float* schedule, float* basis, float* m, float* v, int groups,
                                                        int64_t h, int64_t size, Factors f) {
  const float* by = coefficients_at<kGroups>(coefficients, groups, h, shared_memory<float>());
  const int64_t at = (int64_t{blockIdx.x} * kThreads + threadIdx.x) * V;
  if (at >= size) return;
  const float rate = schedule[0], decay = 1 - rate * f.weight_decay, step = rate / schedule[1], over_root_c2 = 1 / sqrtf(schedule[2]), clipped = clip[0];
  const Slopes<kGroups, V> slopes(dweights + at, by, groups, size, h);
  for (int64_t r = 0; r < h; ++r) {
    const int64_t place = r * size + at;
    float g[V], p[V], first[V], second[V];
    load_vector<V>(basis + place, p), load_vector<V>(m + place, first), load_vector<V>(v + place, second);
    slopes.of_matrix(r, g);
#pragma unroll
    for (int j = 0; j < V; ++j) {
      g[j] *= clipped;
      first[j] += (1 - f.beta1) * (g[j] - first[j]);
      second[j] = f.beta2 * second[j] + (1 - f.beta2) * g[j] * g[j];
      p[j] = p[j] * decay - step * (first[j] / (sqrtf(second[j]) * over_root_c2 + f.epsilon));
    }
    store_vector<V>(p, basis + place), store_vector<V>(first, m + place), store_vector<V>(second, v + place);
  }
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

// Calls act with the number of groups that registers are for and the elements of a thread, fewer where there are more groups.
template <class Act> void with_groups(int64_t groups, int64_t size, const Act& act) {
  using std::integral_constant;
  const bool even = size % 4 == 0;
  if (groups <= 8) even ? act(integral_constant<int, 8>{}, integral_constant<int, 4>{}) : act(integral_constant<int, 8>{}, integral_constant<int, 1>{});
  else if (groups <= kMostGroups) even ? act(integral_constant<int, kMostGroups>{}, integral_constant<int, 2>{}) : act(integral_constant<int, kMostGroups>{}, integral_constant<int, 1>{});
  else act(integral_constant<int, 0>{}, integral_constant<int, 1>{});
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
