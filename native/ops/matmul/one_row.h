// One row by b as it lies in memory: as b is read, no word of it is stored. Sums go along k word by word, as those of thin.h's tiles do, to the same bits.
#pragma once
#include "ops/matmul/pack.h"

namespace nichelm {
namespace {

// tile[j] += sum over k of a[k] b[k][j] for P panels where k goes across b's rows. a: words. tile: [P][kColumns].
// With Ask the same lines of the rows that follow these are asked for, no nearer than the second cache: more can be on their way there.
template <class Kind, int P, bool Ask, class T> void across_kernel(int64_t k, const uint32_t* a, const T* b, int64_t stride, float* tile) {
  static constexpr T zeros[kColumns] = {};
  Floats sum[P][kVectors];
#pragma GCC unroll 4
  for (int c = 0; c < P; ++c)
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v) sum[c][v] = load_floats(tile + c * kColumns + v * kLanes);
  for (int64_t p = 0; p < k; p += Kind::values, ++a, b += Kind::values * stride) {
    for (int row = 0; Ask && row < Kind::values; ++row)
#pragma GCC unroll 16
      for (int j = 0; j < P * kColumns; j += 64 / sizeof(T)) __builtin_prefetch(b + (k + row) * stride + j, 0, 2);
    const bool alone = Kind::values == 1 || p + Kind::values > k;  // a step of one row, or the odd one of a pair
#pragma GCC unroll 4
    for (int c = 0; c < P; ++c) {
      Words step[kVectors];
      across(Kind{}, b + c * kColumns, alone ? zeros : b + stride + c * kColumns, step);
#pragma GCC unroll 4
      for (int v = 0; v < kVectors; ++v) multiply_add(Kind{}, sum[c][v], *a, reinterpret_cast<Floats>(step[v]));
    }
  }
#pragma GCC unroll 4
  for (int c = 0; c < P; ++c)
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v) store(tile + c * kColumns + v * kLanes, sum[c][v]);
}

// tile[j] = sum over k of a[k] b[j][k] for P panels where k goes along b's rows, all k at once: blocks of words are transposed in registers and multiplied.
// The same lines of the panels `ahead` elements further on are asked for, no nearer than the second cache: in the first, lines of so many rows would push each other out.
template <class Kind, int P, class T> void along_kernel(int64_t k, const uint32_t* a, const T* b, int64_t stride, int64_t ahead, float* tile) {
  constexpr int V = P * kVectors;
  constexpr int64_t kBlock = kLanes * Kind::values, kBlockBytes = kBlock * sizeof(T);
  Floats sum[V] = {};
  int64_t p = 0;
  for (; p + kBlock <= k; p += kBlock, a += kLanes) {
    const bool ask = kBlockBytes >= 64 || p % (64 / int64_t{sizeof(T)}) == 0;
#pragma GCC unroll 1
    for (int v = 0; v < V; ++v) {
      const T* row = b + v * kLanes * stride + p;
      Words block[kLanes];
#pragma GCC unroll 16
      for (int i = 0; i < kLanes; ++i) {
        block[i] = words(Kind{}, row + i * stride);
        if (ask) __builtin_prefetch(row + i * stride + ahead, 0, 2);
      }
      transpose(block);
#pragma GCC unroll 16
      for (int i = 0; i < kLanes; ++i) multiply_add(Kind{}, sum[v], a[i], reinterpret_cast<Floats>(block[i]));
    }
  }
  for (; p < k; p += Kind::values, ++a)
    for (int v = 0; v < V; ++v) {
      Words step;
      for (int i = 0; i < kLanes; ++i) step[i] = word(Kind{}, b + (v * kLanes + i) * stride + p, k - p);
      multiply_add(Kind{}, sum[v], *a, reinterpret_cast<Floats>(step));
    }
  for (int v = 0; v < V; ++v) store(tile + v * kLanes, sum[v]);
}

}  // namespace
}  // namespace nichelm
