// Products of bf16 by Hopper's own instructions: one thread has the copy engine fill a ring of stages with tiles of a and b, two warpgroups multiply them, 64
// rows of c each, their sums in registers. Blocks stay, and take tile after tile, so that the ring fills while a tile is finished. Sums over k have one order,
// whatever the tile.
#pragma once
#include "cuda/warpgroup.h"
#include "ops/matmul/cuda_product.h"

namespace nichelm {
namespace {

template <int columns> struct HopperShape {
  static constexpr bool kGated = false;
  static constexpr int kRows = 128, kColumns = columns, kDepth = 64, kConsumers = 2, kThreads = 128 * (1 + kConsumers), kSums = columns / 2;
  static constexpr int kBytesA = kRows * kBoxRowBytes, kBytesB = kColumns * kBoxRowBytes, kStageBytes = kBytesA + kBytesB, kStages = (192 << 10) / kStageBytes;
  // Sums of 16 rows and 64 columns go through shared memory of each warp's own, so that whole lines of c are read and written.
  static constexpr int kStagedColumns = 64, kStagedFloats = 16 * kStagedColumns;
  static constexpr size_t kBytes = kStages * kStageBytes + 4 * kConsumers * kStagedFloats * 4 + 2 * kStages * sizeof(Mbarrier);
};
static_assert(HopperShape<256>::kBytes <= 232448 && HopperShape<128>::kBytes <= 232448);

// What a block does, one after the other: tile, part of k, group.
struct HopperItem {
  Place place;
  int64_t split, group;
  int first, last;  // of k
};
template <class S> __device__ __forceinline__ HopperItem item_of(const ProductOf<Bf16>& p, unsigned item, unsigned tiles) {
  const unsigned rest = item / tiles, splits = static_cast<unsigned>(p.splits);
  const int64_t split = rest % splits, first = split * p.split_k, last = first + p.split_k < p.k ? first + p.split_k : p.k;
  return {tile_place<S::kRows, S::kColumns>(p.m, p.n, item % tiles), split, rest / splits, static_cast<int>(first), static_cast<int>(last)};
}

// 16 rows of a warp's staged sums, from `row` and `column` of c on. A row's chunks of 4 are permuted by its number, so that fragments go to different banks.
__device__ __forceinline__ float* staged_chunk(float* staged, int row, int chunk) { return staged + row * 64 + (chunk ^ (row & 3) << 1) * 4; }
template <int kCount, class C> __device__ __forceinline__ void finish_staged(float* staged, const Epilogue& e, int64_t row, int64_t column, int64_t m, int64_t n) {
  constexpr int kPerRow = 64 / kCount;
#pragma unroll 1
  for (int i = threadIdx.x % 32; i < 16 * kPerRow; i += 32) {
    const int r = i / kPerRow, c = i % kPerRow * kCount;
    if (row + r >= m || column + c >= n) continue;
    float x[kCount];
#pragma unroll
    for (int j = 0; j < kCount; ++j) x[j] = staged_chunk(staged, r, (c + j) / 4)[(c + j) % 4];
    finish<kCount, C>(e, (row + r) * n + column + c, column + c, x);
  }
}

// Of a gated shape: 32 gates, from `column` on, and what they let pass.
template <class C> __device__ __forceinline__ void finish_staged_gates(float* staged, const Epilogue& e, int64_t row, int64_t column, int64_t m, int64_t hidden) {
  by_vectors<C>(hidden, [&](auto count) {
    constexpr int kCount = count, kPerRow = 32 / kCount;
#pragma unroll 1
    for (int i = threadIdx.x % 32; i < 16 * kPerRow; i += 32) {
      const int r = i / kPerRow, c = i % kPerRow * kCount;
      if (row + r >= m || column + c >= hidden) continue;
      float gate[kCount], up[kCount];
#pragma unroll
      for (int j = 0; j < kCount; ++j) gate[j] = staged_chunk(staged, r, (c + j) / 4)[(c + j) % 4], up[j] = staged_chunk(staged, r, (32 + c + j) / 4)[(c + j) % 4];
      finish_gated<kCount, C>(e, row + r, column + c, hidden, gate, up);
    }
  });
}

template <class S, bool kTransposeA, bool kTransposeB>
__global__ void __launch_bounds__(S::kThreads, 1) multiply_hopper(const __grid_constant__ TensorMap map_a, const __grid_constant__ TensorMap map_b, const ProductOf<Bf16> p, unsigned tiles, unsigned items) {
#if NICHELM_HOPPER
  unsigned char* stages = shared_memory<unsigned char>();
  float* all_staged = reinterpret_cast<float*>(stages + S::kStages * S::kStageBytes);
  Mbarrier *full = reinterpret_cast<Mbarrier*>(all_staged + 4 * S::kConsumers * S::kStagedFloats), *empty = full + S::kStages;
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32, warpgroup = threadIdx.x / 128;
  if (threadIdx.x == 0) {
    for (int i = 0; i < S::kStages; ++i) mbarrier_init(full + i, 1), mbarrier_init(empty + i, 4 * S::kConsumers);
    mbarrier_fence_init();
  }
  __syncthreads();
  Stage<S::kStages> stage;

  if (warpgroup == 0) {
    give_registers<40>();
    if (threadIdx.x != 0) return;
    prefetch_map(&map_a), prefetch_map(&map_b);
    for (unsigned i = blockIdx.x; i < items; i += gridDim.x) {
      const HopperItem item = item_of<S>(p, i, tiles);
      const int group = static_cast<int>(item.group);
      for (int k = item.first; k < item.last; k += S::kDepth, stage.advance()) {
        unsigned char *a = stages + stage.index * S::kStageBytes, *b = a + S::kBytesA;
        Mbarrier* landed = full + stage.index;
        mbarrier_wait(empty + stage.index, stage.parity ^ 1);
        mbarrier_expect(landed, S::kStageBytes);
        if constexpr (kTransposeA) {
          for (int m = 0; m < S::kRows; m += 64) load_box(a + m * kBoxRowBytes, &map_a, item.place.row + m, k, group, 0, landed);
        } else {
          load_box(a, &map_a, k, item.place.row, group, 0, landed);
        }
        if constexpr (S::kGated) {
          constexpr int kHalf = S::kColumns / 2, kBox = kTransposeB ? kHalf : 64;
          const int gates = item.place.column / 2, ups = static_cast<int>(p.n / 2) + gates;
          for (int n = 0; n < S::kColumns; n += kBox) {
            const int column = n < kHalf ? gates + n : ups + n - kHalf;
            load_box(b + n * kBoxRowBytes, &map_b, kTransposeB ? k : column, kTransposeB ? column : k, group, 0, landed);
          }
        } else if constexpr (kTransposeB) {
          load_box(b, &map_b, k, item.place.column, group, 0, landed);
        } else {
          for (int n = 0; n < S::kColumns; n += 64) load_box(b + n * kBoxRowBytes, &map_b, item.place.column + n, k, group, 0, landed);
        }
      }
    }
    return;
  }

  take_registers<232>();
  float* staged = all_staged + (warp - 4) * S::kStagedFloats;
  const int rows = 64 * (warpgroup - 1), pair = lane % 4 * 2;
  for (unsigned i = blockIdx.x; i < items; i += gridDim.x) {
    const HopperItem item = item_of<S>(p, i, tiles);
    float sums[S::kSums];
    int multiplied = -1;  // the stage of the last step's
    for (int k = item.first; k < item.last; k += S::kDepth, stage.advance()) {
      unsigned char *a = stages + stage.index * S::kStageBytes, *b = a + S::kBytesA;
      // In both orders of a's boxes the second 64 rows of c are its second 64 rows of 128 bytes.
      const uint64_t of_a = kTransposeA ? operand_across(a + rows * kBoxRowBytes, 64 * kBoxRowBytes) : operand_along(a + rows * kBoxRowBytes);
      const uint64_t of_b = kTransposeB ? operand_along(b) : operand_across(b, 64 * kBoxRowBytes);
      mbarrier_wait(full + stage.index, stage.parity);
      product_fence();
#pragma unroll
      for (int step = 0; step < S::kDepth / kMatrixDepth; ++step)
        start_product<kTransposeA, !kTransposeB>(sums, advance<kTransposeA>(of_a, step), advance<!kTransposeB>(of_b, step), k != item.first || step);
      commit_products();
      wait_products<1>();
      if (multiplied >= 0 && lane == 0) mbarrier_arrive(empty + multiplied);
      multiplied = stage.index;
    }
    wait_products<0>(sums);
    if (lane == 0) mbarrier_arrive(empty + multiplied);

    const Epilogue e = S::kGated ? of_gated_group(p.epilogue, item.group * p.c_stride) : block_epilogue(p, item.split, item.group);
    const int64_t row = item.place.row + rows + warp % 4 * 16;
#pragma unroll
    for (int first = 0; first < S::kColumns; first += 64) {
#pragma unroll
      for (int j = 0; j < 8; ++j)
#pragma unroll
        for (int half = 0; half < 2; ++half) {
          const int columns = S::kGated ? first / 16 + j % 4 + j / 4 * (S::kColumns / 16) : first / 8 + j, at = columns * 4 + half * 2;
          *reinterpret_cast<float2*>(staged_chunk(staged, lane / 4 + 8 * half, 2 * j + pair / 4) + pair % 4) = make_float2(sums[at], sums[at + 1]);
        }
      __syncwarp();
      const int64_t column = item.place.column + first;
      if constexpr (S::kGated) {
        finish_staged_gates<Bf16>(staged, e, row, column / 2, p.m, p.n / 2);
      } else if (e.c_is_bf16) {
        if (p.n % 8 == 0) finish_staged<8, Bf16>(staged, e, row, column, p.m, p.n);
        else finish_staged<1, Bf16>(staged, e, row, column, p.m, p.n);
      } else {
        if (p.n % 4 == 0) finish_staged<4, float>(staged, e, row, column, p.m, p.n);
        else finish_staged<1, float>(staged, e, row, column, p.m, p.n);
      }
      __syncwarp();
    }
  }
#endif
}

template <class S, bool kTransposeA, bool kTransposeB> void launch_hopper(Cuda& device, const ProductOf<Bf16>& p, const TensorShape& a, const TensorShape& b) {
  const auto tiles = divide_up(p.m, S::kRows) * divide_up(p.n, S::kColumns), items = tiles * p.splits * p.groups, blocks = static_cast<int64_t>(device.multiprocessors());
  device.launch("multiply_hopper", multiply_hopper<S, kTransposeA, kTransposeB>, grid_of(items < blocks ? items : blocks), S::kThreads, S::kBytes, tensor_map(p.a, a, kTransposeA ? 64 : S::kRows),
                tensor_map(p.b, b, !kTransposeB ? 64 : S::kGated ? S::kColumns / 2 : S::kColumns), p, static_cast<unsigned>(tiles), static_cast<unsigned>(items));
}

// False where it cannot: another GPU, rows that the copy engine cannot take, or so few that its tiles would be mostly empty.
template <bool kTransposeA, bool kTransposeB, bool kGated> bool multiply_by_hopper(Cuda& device, const ProductOf<Bf16>& p) {
  constexpr int64_t kFew = 32;
  if (!device.hopper() || p.m <= kFew || p.n <= kFew) return false;
  const auto stack = [&](int64_t width, int64_t rows, int64_t stride) { return TensorShape{{width, rows, p.groups, 1}, {1, width, stride, p.groups * stride}}; };
  const TensorShape a = kTransposeA ? stack(p.m, p.k, p.a_stride) : stack(p.k, p.m, p.a_stride), b = kTransposeB ? stack(p.k, p.n, p.b_stride) : stack(p.n, p.k, p.b_stride);
  if (!tensor_map_fits(p.a, a) || !tensor_map_fits(p.b, b)) return false;
  if (kGated && !kTransposeB && p.n % 16 != 0) return false;  // a box of ups begins at n / 2 of b's row, which must be a multiple of 16 bytes too
  using Large = ShapeOf<HopperShape<256>, kGated>;
  using Small = ShapeOf<HopperShape<128>, kGated>;
  const int64_t large = divide_up(p.m, Large::kRows) * divide_up(p.n, Large::kColumns) * p.groups * p.splits;
  if (large >= device.multiprocessors()) launch_hopper<Large, kTransposeA, kTransposeB>(device, p, a, b);
  else launch_hopper<Small, kTransposeA, kTransposeB>(device, p, a, b);
  return true;
}

}  // namespace
}  // namespace nichelm
