// The forward pass of a projection on the CPU, in pieces: coefficients, and the terms of some matrices of a basis added to a tile of weights.
#pragma once
#include <type_traits>

#include "runtime/lanes.h"

namespace nichelm {
namespace {

constexpr int kTerms = 4, kTogether = kLanes == 16 ? 4 : 2;  // matrices of the basis and groups at a time: as many coefficients as there are registers for

// coefficients (groups, h) of op's experts: a small product, in double.
template <class Op> void find_coefficients(const Op& op) {
  const int64_t experts = op.experts.shape[0], m = op.mix.shape[0], h = op.mix.shape[1];
  for (int64_t g = 0; g < op.ids.size(); ++g) {
    const int64_t id = op.ids.template as<int32_t>()[g];
    const bool known = id >= 0 && id < experts;
    for (int64_t r = 0; r < h; ++r) {
      double sum = 0;
      for (int64_t q = 0; q < m && known; ++q) sum += double{op.experts.template as<float>()[id * m + q]} * op.mix.template as<float>()[q * h + r];
      op.coefficients.template as<float>()[g * h + r] = known ? static_cast<float>(op.scale * sum) : __builtin_nanf("");
    }
  }
}

// Adds the terms of R matrices to the tiles of G groups, [G][stride]; the first terms begin them. basis: the first of the matrices, where the chunk begins;
// its values `ahead` are asked for. coefficients: [G][h], those of the first of the matrices; they stay in registers.
template <int R, int G> void add_terms(const float* basis, int64_t size, int64_t count, int64_t ahead, const float* coefficients, int64_t h, float* tile, int64_t stride, bool first) {
  Lanes factor[G][R];
  for (int g = 0; g < G; ++g)
    for (int t = 0; t < R; ++t) factor[g][t] = lanes_of(coefficients[g * h + t]);
  over_lanes(count, [&](int64_t i, auto lanes) NICHELM_INLINE_LAMBDA {
    Lanes term[R];
#pragma GCC unroll 4
    for (int t = 0; t < R; ++t) {
      term[t] = load(basis + t * size + i, lanes);
      if (ahead) __builtin_prefetch(basis + t * size + i + ahead, 0, 2);
    }
#pragma GCC unroll 4
    for (int g = 0; g < G; ++g) {
      float* place = tile + g * stride + i;
      Lanes sum = first ? Lanes{} : load(place, AllLanes{});
#pragma GCC unroll 4
      for (int t = 0; t < R; ++t) sum += factor[g][t] * term[t];
      store(sum, place, AllLanes{});
    }
  });
}

template <int R> void add_terms(const float* basis, int64_t size, int64_t count, int64_t ahead, const float* coefficients, int64_t h, int64_t groups, float* tile, int64_t stride, bool first) {
  int64_t g = 0;
  for (; g + kTogether <= groups; g += kTogether) add_terms<R, kTogether>(basis, size, count, g ? 0 : ahead, coefficients + g * h, h, tile + g * stride, stride, first);
  for (; g < groups; ++g) add_terms<R, 1>(basis, size, count, g ? 0 : ahead, coefficients + g * h, h, tile + g * stride, stride, first);
}

// Rows of a tile, [groups][stride], to their places in the weights, which are `size` apart.
template <class T> void put_tile(const float* tile, int64_t stride, int64_t groups, int64_t count, T* weights, int64_t size) {
  for (int64_t g = 0; g < groups; ++g)
    over_lanes(count, [&](int64_t i, auto lanes) NICHELM_INLINE_LAMBDA { store(load(tile + g * stride + i, AllLanes{}), weights + g * size + i, lanes); });
}

}  // namespace
}  // namespace nichelm
