// What the kernels of a product are given, and how its tiles are numbered.
#pragma once
#include "ops/matmul/cuda_epilogue.h"

namespace nichelm {
namespace {

// c (m, n) = a b of each group; a's, b's and c's of the next group lie so many elements on. k is cut into `splits` parts of split_k; where there are
// several, their sums go to partial (splits, groups, m, n) instead.
template <class T> struct ProductOf {
  const T *a, *b;
  int64_t m, n, k, groups, a_stride, b_stride, c_stride, splits, split_k;
  float* partial;
  Epilogue epilogue;
};

struct Place { int row, column; };

// A tile whose product passes through a gated linear unit (Epilogue::swiglu): half of its columns of b are gates, half what these let pass, n / 2 further on. There
// are as many such tiles as others; a tile's first gate is half of its place's column. They are for sums that are not cut.
template <class S> struct GatedShape : S { static constexpr bool kGated = true; };
template <class S, bool kGated> using ShapeOf = std::conditional_t<kGated, GatedShape<S>, S>;

// Tiles in columns of 8 tiles, so that those which run at once share rows of a and columns of b in the second-level cache.
template <int kRows, int kColumns> __device__ __forceinline__ Place tile_place(int64_t m, int64_t n, unsigned tile) {
  constexpr unsigned kBand = 8;
  const unsigned down = static_cast<unsigned>((m + kRows - 1) / kRows), across = static_cast<unsigned>((n + kColumns - 1) / kColumns);
  const unsigned band = tile / (kBand * across), first = band * kBand, height = down - first < kBand ? down - first : kBand, in_band = tile % (kBand * across);
  return {static_cast<int>(first + in_band % height) * kRows, static_cast<int>(in_band / height) * kColumns};
}

// What a block does with its sums.
template <class T> __device__ __forceinline__ Epilogue block_epilogue(const ProductOf<T>& p, int64_t split, int64_t group) {
  if (p.splits == 1) return of_group(p.epilogue, group * p.c_stride);
  return {p.partial + (split * p.groups + group) * p.m * p.n, nullptr, nullptr, nullptr, nullptr, false, false, false};
}

template <int kRows, int kColumns, class T> dim3 grid_for(const ProductOf<T>& p) {
  return dim3(static_cast<unsigned>(divide_up(p.m, kRows) * divide_up(p.n, kColumns)), static_cast<unsigned>(p.splits), static_cast<unsigned>(p.groups));
}

}  // namespace
}  // namespace nichelm
