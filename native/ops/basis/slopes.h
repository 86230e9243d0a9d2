// What the passes over a basis share on the GPU: a thread owns an element or two of every matrix of the basis. It keeps the groups' gradients there in registers and
// forms that of one matrix after the other: dbasis is never stored, and no thread needs another's sums.
#pragma once
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
        for (int j = 0; j < V; ++j) slope[j] = fmaf(by[r * kGroups + g], held[g][j], slope[j]);  // both 0 where there is no such group
    } else {
      for (int g = 0; g < groups; ++g) {
        float x[V];
        load_vector<V>(dweights + g * size, x);
#pragma unroll
        for (int j = 0; j < V; ++j) slope[j] = fmaf(by[g * h + r], x[j], slope[j]);
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

// V elements of a matrix and its moments.
template <int V> struct Elements {
  float p[V], first[V], second[V];
  __device__ __forceinline__ void load(const float* basis, const float* m, const float* v) { load_vector<V>(basis, p), load_vector<V>(m, first), load_vector<V>(v, second); }
};

// AdamW of the thread's elements of every matrix, then act(r, p) with those of matrix r as they are now. Operations are in PyTorch's order, as in adamw; which of
// them are joined is said here, so that basis_step has the bits of basis_adamw whatever the compiler makes of either. The next matrix is asked for before this one
// is stored: the compiler cannot know that they are not the same.
template <int kGroups, int V, class Act>
__device__ __forceinline__ void update_matrices(const Slopes<kGroups, V>& slopes, const float* clip, const float* schedule, float* basis, float* m, float* v, int64_t h, int64_t size, int64_t at,
                                                const Factors& f, const Act& act) {
  const float rate = schedule[0], decay = 1 - rate * f.weight_decay, step = rate / schedule[1], over_root_c2 = 1 / sqrtf(schedule[2]), clipped = clip[0];
  Elements<V> ahead;
  if (h > 0) ahead.load(basis + at, m + at, v + at);
  for (int64_t r = 0; r < h; ++r) {
    const int64_t place = r * size + at;
    Elements<V> e = ahead;
    if (r + 1 < h) ahead.load(basis + place + size, m + place + size, v + place + size);
    float g[V];
    slopes.of_matrix(r, g);
#pragma unroll
    for (int j = 0; j < V; ++j) {
      g[j] = __fmul_rn(g[j], clipped);
      e.first[j] = fmaf(1 - f.beta1, __fsub_rn(g[j], e.first[j]), e.first[j]);
      e.second[j] = fmaf(f.beta2, e.second[j], __fmul_rn(__fmul_rn(1 - f.beta2, g[j]), g[j]));
      e.p[j] = fmaf(-step, e.first[j] / fmaf(sqrtf(e.second[j]), over_root_c2, f.epsilon), __fmul_rn(e.p[j], decay));
    }
    store_vector<V>(e.p, basis + place), store_vector<V>(e.first, m + place), store_vector<V>(e.second, v + place);
    act(r, e.p);
  }
}

// Calls act with the number of groups that registers are for and the elements of a thread, fewer where there are more groups.
template <class Act> void with_groups(int64_t groups, int64_t size, const Act& act) {
  using std::integral_constant;
  const bool even = size % 4 == 0;
  if (groups <= 8) even ? act(integral_constant<int, 8>{}, integral_constant<int, 4>{}) : act(integral_constant<int, 8>{}, integral_constant<int, 1>{});
  else if (groups <= 16) even ? act(integral_constant<int, 16>{}, integral_constant<int, 2>{}) : act(integral_constant<int, 16>{}, integral_constant<int, 1>{});
  else if (groups <= kMostGroups) even ? act(integral_constant<int, kMostGroups>{}, integral_constant<int, 2>{}) : act(integral_constant<int, kMostGroups>{}, integral_constant<int, 1>{});
  else act(integral_constant<int, 0>{}, integral_constant<int, 1>{});
}

}  // namespace
}  // namespace nichelm
