// Where the vectors of cached_attention lie, for its CUDA kernels.
#pragma once
#include "cuda/kernel.h"

namespace nichelm {
namespace {

struct CacheLayout {
  int64_t rows, length, heads, kv_heads, d, slots, capacity;
  const int32_t *slot, *cached;
  __device__ int64_t width() const { return (heads + 2 * kv_heads) * d; }
  // Where a row's token stands in its cache; -1 where there is no room for it. A caller's slip must not write out of bounds.
  __device__ int64_t place(int64_t row, int64_t t) const {
    const bool valid = slot[row] >= 0 && slot[row] < slots && cached[row] >= 0 && cached[row] + t < capacity;
    return valid ? cached[row] + t : -1;
  }
  // How many of a row's tokens have a place: the first of them.
  __device__ int placed(int64_t row) const {
    const int64_t room = place(row, 0) < 0 ? 0 : capacity - cached[row];
    return static_cast<int>(room < length ? room : length);
  }
  __device__ int64_t cache(int64_t row, int64_t g, int64_t at) const { return ((slot[row] * kv_heads + g) * capacity + at) * d; }
};

}  // namespace
}  // namespace nichelm
