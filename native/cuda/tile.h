// Tiles of bf16 in shared memory for the matrix instructions: rows of chunks of 16 bytes (8 elements). The chunks of a row are permuted by its number,
// so that the same chunk of eight neighbouring rows, which ldmatrix reads at once, lies in eight different groups of banks.
#pragma once
#include "cuda/async.h"
#include "cuda/matrix.h"

namespace nichelm {

template <int kRows, int kChunks> struct Tile {
  static_assert(kChunks == 4 || kChunks % 8 == 0);
  static constexpr int kRowCount = kRows, kChunkCount = kChunks, kSize = kRows * kChunks * 8;  // elements

  static __device__ __forceinline__ Bf16* at(Bf16* tile, int row, int chunk) {
    const int turned = kChunks == 4 ? chunk ^ (row >> 1 & 3) : chunk ^ (row & 7);
    return tile + (row * kChunks + turned) * 8;
  }
};

// Part of a row-major matrix in device memory; what lies outside reads as 0.
struct Window {
  const Bf16* data;
  int64_t stride;     // elements from row to row
  int rows, columns;  // of the matrix
};

// Loads rows row .. and columns column .. of the window into the tile; all kThreads take part. With kAligned every row starts at 16 bytes, columns is a
// multiple of 8, and the copies run on until they are waited for; else elements are loaded one by one. The second half of the tile's columns are those that
// lie `gap` further on.
template <class T, int kThreads, bool kAligned> __device__ __forceinline__ void load_tile(Bf16* tile, const Window& from, int row, int column, int gap = 0) {
  constexpr int kStep = kThreads / T::kChunkCount;
  static_assert(kThreads % T::kChunkCount == 0 && T::kRowCount % kStep == 0);
  const int first = threadIdx.x / T::kChunkCount, chunk = threadIdx.x % T::kChunkCount;
  column += chunk * 8 + (chunk < T::kChunkCount / 2 ? 0 : gap);
  const Bf16* source = from.data + (row + first) * from.stride + column;
#pragma unroll
  for (int r = first; r < T::kRowCount + first; r += kStep, source += kStep * from.stride) {
    if (kAligned) {
      const bool valid = row + r < from.rows && column < from.columns;
      copy_async(T::at(tile, r, chunk), valid ? source : from.data, valid);
    } else {
      union { uint4 word; Bf16 values[8]; } u;
      u.word = make_uint4(0, 0, 0, 0);
#pragma unroll
      for (int j = 0; j < 8; ++j)
        if (row + r < from.rows && column + j < from.columns) u.values[j] = source[j];
      *reinterpret_cast<uint4*>(T::at(tile, r, chunk)) = u.word;
    }
  }
}

// Fragments of a product that sums over k, 16 at a time (cuda/matrix.h says which lane holds what).
// a: 16 rows m, 16 columns k, from a tile of rows m (kAcross false) or of rows k.
template <class T, bool kAcross> __device__ __forceinline__ void load_a(uint32_t (&a)[4], Bf16* tile, int m, int k) {
  const int lane = threadIdx.x % 32;
  if (kAcross) load_matrices_transposed(a, T::at(tile, k + lane % 8 + lane / 16 * 8, m / 8 + lane / 8 % 2));
  else load_matrices(a, T::at(tile, m + lane % 16, k / 8 + lane / 16));
}
// b: two neighbours of 8 columns n, 16 rows k: b[0], b[1] for the first, b[2], b[3] for the second; from a tile of rows n (kAcross false) or of rows k.
template <class T, bool kAcross> __device__ __forceinline__ void load_b(uint32_t (&b)[4], Bf16* tile, int n, int k) {
  const int lane = threadIdx.x % 32;
  if (kAcross) load_matrices_transposed(b, T::at(tile, k + lane % 16, n / 8 + lane / 16));
  else load_matrices(b, T::at(tile, n + lane % 8 + lane / 16 * 8, k / 8 + lane / 8 % 2));
}

}  // namespace nichelm
