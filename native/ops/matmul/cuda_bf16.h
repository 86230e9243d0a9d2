// Products of bf16 by mma.sync: a block makes a tile of c. Tiles of a and b pass through kStages places in shared memory, filled by asynchronous copies
// while earlier ones are multiplied; each warp keeps its part of the sums in registers. Sums over k have one order, whatever the tile.
#pragma once
#include "cuda/tile.h"
#include "ops/matmul/cuda_hopper.h"

namespace nichelm {
namespace {

// kRows x kColumns of c by kDown x kAcross warps.
template <int rows, int columns, int down, int across> struct Shape {
  static constexpr int kRows = rows, kColumns = columns, kDown = down, kAcross = across, kDepth = 32, kStages = 4, kThreads = 32 * down * across;
  static constexpr bool kGated = false;
  static constexpr int kWarpRows = rows / down, kWarpColumns = columns / across;
};
using LargeShape = Shape<128, 128, 2, 4>;
using SmallShape = Shape<64, 64, 2, 2>;

// Tiles whose rows go along k, or across it where the operand is stored so.
template <class S, bool kTransposed> struct TileOfA { using type = Tile<S::kRows, S::kDepth / 8>; };
template <class S> struct TileOfA<S, true> { using type = Tile<S::kDepth, S::kRows / 8>; };
template <class S, bool kTransposed> struct TileOfB { using type = Tile<S::kDepth, S::kColumns / 8>; };
template <class S> struct TileOfB<S, true> { using type = Tile<S::kColumns, S::kDepth / 8>; };

template <class S> constexpr size_t kProductBytes =
    S::kStages * (S::kRows + S::kColumns) * S::kDepth * 2 > SumTile<S::kRows, S::kColumns>::kBytes ? S::kStages * (S::kRows + S::kColumns) * S::kDepth * 2 : SumTile<S::kRows, S::kColumns>::kBytes;

// a: (m, k), or (k, m) with kTransposeA; b: (k, n), or (n, k) with kTransposeB.
template <class S, bool kTransposeA, bool kTransposeB, bool kAligned> __global__ void __launch_bounds__(S::kThreads, 2) multiply_bf16(const ProductOf<Bf16> p) {
  using TileA = typename TileOfA<S, kTransposeA>::type;
  using TileB = typename TileOfB<S, kTransposeB>::type;
  constexpr int kMatricesM = S::kWarpRows / 16, kMatricesN = S::kWarpColumns / 8;
  Bf16* tiles_a = shared_memory<Bf16>();
  Bf16* tiles_b = tiles_a + S::kStages * TileA::kSize;
  const Place place = tile_place<S::kRows, S::kColumns>(p.m, p.n, blockIdx.x);
  const int64_t group = blockIdx.z, split_first = blockIdx.y * p.split_k, split_last = split_first + p.split_k < p.k ? split_first + p.split_k : p.k;
  const int m = static_cast<int>(p.m), n = static_cast<int>(p.n), first = static_cast<int>(split_first), last = static_cast<int>(split_last);
  // Beyond `last` an operand is as if it had ended: the next split's part must not be read.
  const Bf16 *a = p.a + group * p.a_stride, *b = p.b + group * p.b_stride;
  const Window from_a = kTransposeA ? Window{a, p.m, last, m} : Window{a, p.k, m, last};
  const Window from_b = kTransposeB ? Window{b, p.k, n, last} : Window{b, p.n, last, n};
  const int hidden = n / 2, gates = place.column / 2;  // of a gated shape
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32, warp_row = warp % S::kDown * S::kWarpRows, warp_column = warp / S::kDown * S::kWarpColumns;

  const auto load = [&](int step) {
    const int stage = step % S::kStages, k = first + step * S::kDepth;
    if (k < last) {
      load_tile<TileA, S::kThreads, kAligned>(tiles_a + stage * TileA::kSize, from_a, kTransposeA ? k : place.row, kTransposeA ? place.row : k);
      Bf16* tile_b = tiles_b + stage * TileB::kSize;
      if constexpr (!S::kGated) {
        load_tile<TileB, S::kThreads, kAligned>(tile_b, from_b, kTransposeB ? place.column : k, kTransposeB ? k : place.column);
      } else if constexpr (!kTransposeB) {
        load_tile<TileB, S::kThreads, kAligned>(tile_b, from_b, k, gates, hidden - S::kColumns / 2);
      } else {
        using Half = Tile<S::kColumns / 2, S::kDepth / 8>;
        load_tile<Half, S::kThreads, kAligned>(tile_b, from_b, gates, k), load_tile<Half, S::kThreads, kAligned>(tile_b + Half::kSize, from_b, hidden + gates, k);
      }
    }
    commit_copies();  // also where there is none, so that the count of groups goes with the steps
  };

  float sums[kMatricesM][kMatricesN][4] = {};
#pragma unroll
  for (int step = 0; step < S::kStages - 1; ++step) load(step);
  const int steps = (last - first + S::kDepth - 1) / S::kDepth;
  for (int step = 0; step < steps; ++step) {
    wait_copies<S::kStages - 2>();
    __syncthreads();  // this step's tiles are there, and those of the last are read
    load(step + S::kStages - 1);
    const int stage = step % S::kStages;
    Bf16 *tile_a = tiles_a + stage * TileA::kSize, *tile_b = tiles_b + stage * TileB::kSize;
#pragma unroll
    for (int k = 0; k < S::kDepth; k += 16) {
      uint32_t of_a[kMatricesM][4], of_b[kMatricesN / 2][4];
#pragma unroll
      for (int i = 0; i < kMatricesM; ++i) load_a<TileA, kTransposeA>(of_a[i], tile_a, warp_row + 16 * i, k);
#pragma unroll
      for (int j = 0; j < kMatricesN / 2; ++j) load_b<TileB, !kTransposeB>(of_b[j], tile_b, warp_column + 16 * j, k);
#pragma unroll
      for (int i = 0; i < kMatricesM; ++i)
#pragma unroll
        for (int j = 0; j < kMatricesN; ++j) multiply_matrices(sums[i][j], of_a[i], of_b[j / 2][j % 2 * 2], of_b[j / 2][j % 2 * 2 + 1]);
    }
  }
  wait_copies<0>();
  __syncthreads();

  using Sums = SumTile<S::kRows, S::kColumns>;
  float* tile = shared_memory<float>();
#pragma unroll
  for (int i = 0; i < kMatricesM; ++i)
#pragma unroll
    for (int j = 0; j < kMatricesN; ++j)
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        float* to = tile + (warp_row + 16 * i + lane / 4 + 8 * half) * Sums::kStride + warp_column + 8 * j + lane % 4 * 2;
        *reinterpret_cast<float2*>(to) = make_float2(sums[i][j][2 * half], sums[i][j][2 * half + 1]);
      }
  __syncthreads();
  if constexpr (S::kGated) Sums::template finish_gates<S::kThreads, Bf16>(tile, of_gated_group(p.epilogue, group * p.c_stride), place.row, gates, p.m, hidden);
  else Sums::template finish_all<S::kThreads>(tile, block_epilogue(p, blockIdx.y, blockIdx.z), place.row, place.column, p.m, p.n);
}

template <class S, bool kTransposeA, bool kTransposeB, bool kAligned> void launch_bf16(Cuda& device, const ProductOf<Bf16>& p) {
  device.launch("multiply_bf16", multiply_bf16<S, kTransposeA, kTransposeB, kAligned>, grid_for<S::kRows, S::kColumns>(p), S::kThreads, kProductBytes<S>, p);
}

template <bool kTransposeA, bool kTransposeB, bool kGated = false> void multiply(Cuda& device, const ProductOf<Bf16>& p) {
  if (multiply_by_hopper<kTransposeA, kTransposeB, kGated>(device, p)) return;
  using Large = ShapeOf<LargeShape, kGated>;
  using Small = ShapeOf<SmallShape, kGated>;
  // Rows of both operands as they lie in memory, and the parts that k is cut into.
  const bool aligned = (kTransposeA ? p.m : p.k) % 8 == 0 && (kTransposeB ? p.k : kGated ? p.n / 2 : p.n) % 8 == 0 && p.a_stride % 8 == 0 && p.b_stride % 8 == 0;
  // Large tiles read each operand half as often, but there must be enough of them for every multiprocessor.
  const int64_t large = divide_up(p.m, Large::kRows) * divide_up(p.n, Large::kColumns) * p.groups * p.splits;
  if (!aligned) launch_bf16<Small, kTransposeA, kTransposeB, false>(device, p);
  else if (large >= device.multiprocessors()) launch_bf16<Large, kTransposeA, kTransposeB, true>(device, p);
  else launch_bf16<Small, kTransposeA, kTransposeB, true>(device, p);
}

}  // namespace
}  // namespace nichelm
