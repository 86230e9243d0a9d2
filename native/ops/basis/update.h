// AdamW of a basis on the CPU, a chunk of one matrix at a time: each element of the gradient is formed in a register. Several matrices at a time would need fewer
// loads, but they lie a power of two apart, and their lines would drive each other out of the cache.
#pragma once
#include "ops/adamw/update.h"

namespace nichelm {
namespace {

// One matrix of the basis, a chunk of it. coefficients: those of this matrix, `step` apart. What lies `ahead` is asked for.
void update(const AdamwFactors f, int64_t count, const float* tile, int64_t stride, int64_t groups, const float* coefficients, int64_t step, float* basis, float* m, float* v, int64_t ahead) {
  over_lanes(count, [&](int64_t i, auto lanes) NICHELM_INLINE_LAMBDA {
    __builtin_prefetch(basis + i + ahead, 1, 2);
    __builtin_prefetch(m + i + ahead, 1, 2);
    __builtin_prefetch(v + i + ahead, 1, 2);
    Lanes gradient = coefficients[0] * load(tile + i, AllLanes{});
#pragma GCC unroll 4
    for (int64_t g = 1; g < groups; ++g) gradient += coefficients[g * step] * load(tile + g * stride + i, AllLanes{});
    Lanes first = load(m + i, lanes), second = load(v + i, lanes);
    store(adamw_updated(f, gradient, load(basis + i, lanes), first, second), basis + i, lanes);
    store(first, m + i, lanes);
    store(second, v + i, lanes);
  });
}

}  // namespace
}  // namespace nichelm
