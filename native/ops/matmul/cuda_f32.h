// Products of f32 by ordinary multiply-adds, in full f32 precision (no TF32): a block makes a tile of c, a thread 4 x 4 of its elements.
#pragma once
#include "ops/matmul/cuda_product.h"

namespace nichelm {
namespace {

constexpr int kTileF32 = 64, kDepthF32 = 16, kThreadsF32 = 256, kStrideF32 = kTileF32 + 4;
constexpr size_t kProductBytesF32 = SumTile<kTileF32, kTileF32>::kBytes;
static_assert(2 * kDepthF32 * kStrideF32 * 4 <= kProductBytesF32);

// Tiles of a and b as (k, rows or columns); zeros outside. kAlong: neighbours in memory go along k. The second half of the rows or columns are those that lie
// `gap` further on.
template <bool kAlong> __device__ __forceinline__ void load_tile_f32(float* tile, const float* from, int64_t stride, int64_t place, int64_t size, int64_t k, int64_t last, int64_t gap = 0) {
#pragma unroll
  for (int i = threadIdx.x; i < kTileF32 * kDepthF32; i += kThreadsF32) {
    const int depth = kAlong ? i % kDepthF32 : i / kTileF32, at = kAlong ? i / kDepthF32 : i % kTileF32;
    const int64_t first = at < kTileF32 / 2 ? place : place + gap;
    const bool valid = first + at < size && k + depth < last;
    tile[depth * kStrideF32 + at] = valid ? from[kAlong ? (first + at) * stride + k + depth : (k + depth) * stride + first + at] : 0;
  }
}

template <bool kTransposeA, bool kTransposeB, bool kGated> __global__ void __launch_bounds__(kThreadsF32) multiply_f32(const ProductOf<float> p) {
  float *tile_a = shared_memory<float>(), *tile_b = tile_a + kDepthF32 * kStrideF32;
  const Place place = tile_place<kTileF32, kTileF32>(p.m, p.n, blockIdx.x);
  const int64_t group = blockIdx.z, first = blockIdx.y * p.split_k, last = first + p.split_k < p.k ? first + p.split_k : p.k;
  const int64_t hidden = p.n / 2, from_column = kGated ? place.column / 2 : place.column, gap = kGated ? hidden - kTileF32 / 2 : 0;
  const int row = threadIdx.x / 16 * 4, column = threadIdx.x % 16 * 4;
  float sums[4][4] = {};
  for (int64_t k = first; k < last; k += kDepthF32) {
    load_tile_f32<!kTransposeA>(tile_a, p.a + group * p.a_stride, kTransposeA ? p.m : p.k, place.row, p.m, k, last);
    load_tile_f32<kTransposeB>(tile_b, p.b + group * p.b_stride, kTransposeB ? p.k : p.n, from_column, p.n, k, last, gap);
    __syncthreads();
#pragma unroll
    for (int depth = 0; depth < kDepthF32; ++depth) {
      float a[4], b[4];
      load_vector<4>(tile_a + depth * kStrideF32 + row, a), load_vector<4>(tile_b + depth * kStrideF32 + column, b);
#pragma unroll
      for (int i = 0; i < 4; ++i)
#pragma unroll
        for (int j = 0; j < 4; ++j) sums[i][j] += a[i] * b[j];
    }
    __syncthreads();
  }
  using Sums = SumTile<kTileF32, kTileF32>;
  float* tile = shared_memory<float>();
#pragma unroll
  for (int i = 0; i < 4; ++i) store_vector<4>(sums[i], tile + (row + i) * Sums::kStride + column);
  __syncthreads();
  if constexpr (kGated) Sums::template finish_gates<kThreadsF32, float>(tile, of_gated_group(p.epilogue, group * p.c_stride), place.row, from_column, p.m, hidden);
  else Sums::template finish_all<kThreadsF32>(tile, block_epilogue(p, blockIdx.y, blockIdx.z), place.row, place.column, p.m, p.n);
}

template <bool kTransposeA, bool kTransposeB, bool kGated = false> void multiply(Cuda& device, const ProductOf<float>& p) {
  device.launch("multiply_f32", multiply_f32<kTransposeA, kTransposeB, kGated>, grid_for<kTileF32, kTileF32>(p), kThreadsF32, kProductBytesF32, p);
}

}  // namespace
}  // namespace nichelm
