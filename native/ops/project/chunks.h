// How passes over a basis or a stack of matrices are cut along (inputs, outputs): in chunks that fit the nearest caches with a row for each group, by the
// shape alone, so that no result depends on the number of threads. Sums go chunk by chunk within a run of chunks, and the runs' sums in order.
#pragma once
#include "runtime/cpu.h"
#include "runtime/lanes.h"

namespace nichelm {
namespace {

struct Chunks {
  int64_t size, chunk, count;  // elements of a matrix, of a chunk (a multiple of every register's width), chunks
  int64_t tile_row() const { return chunk + 16; }  // from one row of a tile to the next: not a power of two, as in gather
  int64_t first(int64_t c) const { return c * chunk; }
  int64_t length(int64_t c) const { return c + 1 < count ? chunk : size - c * chunk; }

  // How far behind an element of matrix r of a basis of h the one lies that a pass comes to `step` matrices later: in the next chunk, at its end.
  int64_t ahead(int64_t r, int64_t step, int64_t h) const { return r + step < h ? step * size : chunk - r * size; }

  // At most 256 runs: their sums are small beside the matrices themselves.
  int64_t runs() const { return count < 256 ? count : 256; }
  int64_t run_first(int64_t run) const { return count * run / runs(); }
};

// A tile of at most 128 KiB where there are few groups, so that with what is read ahead it stays in the second cache; but many chunks, for many threads.
NICHELM_INLINE Chunks matrix_chunks(const Tensor& stack, int64_t groups) {
  constexpr int64_t kTile = 32768, kLeast = 1024, kMost = 8192, kChunks = 64;  // elements
  const int64_t size = stack.shape[1] * stack.shape[2], fitting = kTile / groups, many = size / kChunks, even = (fitting < many ? fitting : many) / 64 * 64;
  const int64_t chunk = even < kLeast ? kLeast : even > kMost ? kMost : even;
  return {size, chunk, (size + chunk - 1) / chunk};
}

// A chunk of every matrix of a stack, side by side in a tile, 0 behind their end. Rows of a stack often lie a power of two apart, and
// would drive each other out of the cache.
NICHELM_INLINE void gather(const Tensor& stack, const Chunks& chunks, int64_t c, float* tile) {
  const int64_t count = chunks.length(c);
  for (int64_t g = 0; g < stack.shape[0]; ++g) {
    const float* from = stack.as<float>() + g * chunks.size + chunks.first(c);
    float* to = tile + g * chunks.tile_row();
    over_lanes(count, [&](int64_t i, auto lanes) NICHELM_INLINE_LAMBDA { store(load(from + i, lanes), to + i, AllLanes{}); });
  }
}

}  // namespace
}  // namespace nichelm
