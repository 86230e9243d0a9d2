// Coefficients of a projection on the GPU.
#pragma once
#include "cuda/kernel.h"

namespace nichelm {
namespace {

constexpr int kCoefficientThreads = 128;

// A block a group. experts: (k, m); mix: (m, h); coefficients: (groups, h), those that were there go to `before` if there is such a place.
__global__ void __launch_bounds__(kCoefficientThreads) find_coefficients(const float* experts, const float* mix, const int32_t* ids, float* coefficients, float* before, int64_t k, int64_t m, int64_t h,
                                                                         float scale) {
  const int64_t group = blockIdx.x, id = ids[group];
  for (int64_t r = threadIdx.x; r < h; r += kCoefficientThreads) {
    float sum = 0;
    for (int64_t i = 0; i < m && id >= 0 && id < k; ++i) sum += experts[id * m + i] * mix[i * h + r];
    if (before) before[group * h + r] = coefficients[group * h + r];
    coefficients[group * h + r] = id >= 0 && id < k ? scale * sum : NAN;
  }
}

}  // namespace
}  // namespace nichelm
