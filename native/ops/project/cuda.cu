// CUDA kernels: coefficients first; then a thread owns neighbouring elements of the weights and goes through the basis once for up to 32 groups, whose sums it
// keeps in registers. The gradient's inner products are a product of dweights and the basis, cut into many short sums, which are added in double.
#include "ops/project/project.h"
#include "ops/project/coefficients.h"

#include "cuda/vector.h"
#include "ops/matmul/cuda_f32.h"

namespace nichelm {
namespace {

constexpr int kThreads = kCoefficientThreads;

// basis: (h, size); weights: (groups, size), of which this launch makes first .. first + kGroups - 1. Coefficients as (h, kGroups) in shared memory.
template <int kGroups, int V, class T>
__global__ void __launch_bounds__(kThreads) project(const float* basis, const float* coefficients, T* weights, int64_t first, int64_t groups, int64_t h, int64_t size) {
  float* by = shared_memory<float>();
  for (int64_t i = threadIdx.x; i < h * kGroups; i += kThreads) by[i] = first + i % kGroups < groups ? coefficients[(first + i % kGroups) * h + i / kGroups] : 0;
  __syncthreads();
  const int64_t at = (int64_t{blockIdx.x} * kThreads + threadIdx.x) * V;
  if (at >= size) return;
  float sums[kGroups][V] = {};
#pragma unroll 2
  for (int64_t r = 0; r < h; ++r) {
    float x[V];
    load_vector<V>(basis + r * size + at, x);
#pragma unroll
    for (int g = 0; g < kGroups; ++g)
#pragma unroll
      for (int j = 0; j < V; ++j) sums[g][j] = fmaf(by[r * kGroups + g], x[j], sums[g][j]);
  }
#pragma unroll
  for (int g = 0; g < kGroups; ++g)
    if (first + g < groups) store_vector<V>(sums[g], weights + (first + g) * size + at);
}

template <int kGroups, int V, class T> void launch_project(Cuda& device, const Project& op, int64_t first) {
  const int64_t groups = op.ids.size(), h = op.basis.shape[0], size = op.basis.shape[1] * op.basis.shape[2];
  device.launch("project", project<kGroups, V, T>, grid_of(divide_up(size, V * kThreads)), kThreads, static_cast<size_t>(h * kGroups) * sizeof(float), op.basis.as<const float>(),
                op.coefficients.as<const float>(), op.weights.as<T>(), first, groups, h, size);
}

// As many groups at once as there are, up to 32: each launch reads the basis once.
template <int V, class T> void project_all(Cuda& device, const Project& op) {
  const int64_t groups = op.ids.size();
  for (int64_t first = 0; first < groups; first += 32) {
    if (groups - first <= 4) launch_project<4, V, T>(device, op, first);
    else if (groups - first <= 16) launch_project<16, V, T>(device, op, first);
    else launch_project<32, V < 2 ? V : 2, T>(device, op, first);
  }
}
template <class T> void project_all(Cuda& device, const Project& op) { (op.basis.shape[1] * op.basis.shape[2]) % 4 ? project_all<1, T>(device, op) : project_all<4, T>(device, op); }

// slopes (groups, h), from the sums of their parts: partial (parts, groups h).
__global__ void __launch_bounds__(kThreads) add_parts(const float* partial, int64_t parts, int64_t count, float* slopes) {
  const int64_t i = int64_t{blockIdx.x} * kThreads + threadIdx.x;
  if (i >= count) return;
  double sum = 0;
  for (int64_t p = 0; p < parts; ++p) sum += partial[p * count + i];
  slopes[i] = static_cast<float>(sum);
}

// A thread a column i of experts: dexperts[ids[g], i] += scale sum over r of slopes[g,r] mix[i,r], group after group.
__global__ void __launch_bounds__(kThreads) expert_gradient(const float* slopes, const float* mix, const int32_t* ids, float* dexperts, int64_t groups, int64_t k, int64_t m, int64_t h, float scale) {
  const int64_t i = int64_t{blockIdx.x} * kThreads + threadIdx.x;
  if (i >= m) return;
  for (int64_t g = 0; g < groups; ++g) {
    const int64_t id = ids[g];
    if (id < 0 || id >= k) continue;
    float sum = 0;
    for (int64_t r = 0; r < h; ++r) sum += slopes[g * h + r] * mix[i * h + r];
    dexperts[id * m + i] += scale * sum;
  }
}

// A thread an element of mix.
__global__ void __launch_bounds__(kThreads) mix_gradient(const float* slopes, const float* experts, const int32_t* ids, float* dmix, int64_t groups, int64_t k, int64_t m, int64_t h, float scale) {
  const int64_t at = int64_t{blockIdx.x} * kThreads + threadIdx.x, i = at / h, r = at % h;
  if (at >= m * h) return;
  float sum = 0;
  for (int64_t g = 0; g < groups; ++g) {
    const int64_t id = ids[g];
    sum += id >= 0 && id < k ? experts[id * m + i] * slopes[g * h + r] : NAN;
  }
  dmix[at] += scale * sum;
}

}  // namespace

template <> void run(Cuda& device, const Project& op) {
  const int64_t k = op.experts.shape[0], m = op.experts.shape[1], h = op.mix.shape[1];
  device.launch("project_coefficients", find_coefficients, grid_of(op.ids.size()), kThreads, 0, op.experts.as<const float>(), op.mix.as<const float>(), op.ids.as<const int32_t>(),
                op.coefficients.as<float>(), static_cast<float*>(nullptr), k, m, h, op.scale);
  op.weights.type == Type::bf16 ? project_all<Bf16>(device, op) : project_all<float>(device, op);
}

template <> void run(Cuda& device, const ProjectGradient& op) {
  const int64_t k = op.experts.shape[0], m = op.experts.shape[1], h = op.mix.shape[1], groups = op.ids.size(), size = op.basis.shape[1] * op.basis.shape[2], count = groups * h;
  // slopes = dweights (groups, size) · basisᵀ
  const int64_t wanted = size / 2048, parts = wanted < 1 ? 1 : wanted > 1024 ? 1024 : wanted, part = divide_up(divide_up(size, parts), 16) * 16, filled = size ? divide_up(size, part) : 1;
  float *slopes = device.scratch_of<float>(count), *partial = device.scratch_of<float>(filled * count, 1);
  Epilogue none{partial, nullptr, nullptr, nullptr, nullptr, false, false, false};
  const ProductOf<float> product{op.dweights.as<const float>(), op.basis.as<const float>(), groups, h, size, 1, 0, 0, 0, filled, part, partial, none};
  multiply<false, true>(device, product);
  device.launch("project_slopes", add_parts, grid_of(divide_up(count, kThreads)), kThreads, 0, partial, filled, count, slopes);
  device.launch("project_expert_gradient", expert_gradient, grid_of(divide_up(m, kThreads)), kThreads, 0, slopes, op.mix.as<const float>(), op.ids.as<const int32_t>(), op.dexperts.as<float>(),
                groups, k, m, h, op.scale);
  device.launch("project_mix_gradient", mix_gradient, grid_of(divide_up(m * h, kThreads)), kThreads, 0, slopes, op.experts.as<const float>(), op.ids.as<const int32_t>(), op.dmix.as<float>(), groups,
                k, m, h, op.scale);
}

NICHELM_CUDA_KERNELS(Project, ProjectGradient)

}  // namespace nichelm
