// Sums over rows, such as the gradient of a gain, in one order: rows are cut into chunks by their number alone, each chunk has its own sums, and a
// second kernel adds these in the order of the chunks.
#pragma once
#include "cuda/kernel.h"

namespace nichelm {
namespace {

struct RowChunks {
  int64_t rows, chunk, count;
  __device__ int64_t first(int64_t c) const { return c * chunk; }
  __device__ int64_t last(int64_t c) const { return c + 1 < count ? (c + 1) * chunk : rows; }
};

// At most 256 chunks, about two a multiprocessor: their sums are small beside the rows themselves.
inline RowChunks row_chunks(int64_t rows) {
  const int64_t even = divide_up(rows, 256), chunk = even < 16 ? 16 : even;
  return {rows, chunk, divide_up(rows, chunk)};
}

// A block keeps so many sums in shared memory, so that several blocks share a multiprocessor; beyond, in device memory.
constexpr int64_t kMostSharedSums = 12288;

// target[i] += sum over c of sums[c, i]; sums: (count, width). A thread a column, so a warp reads neighbours.
__global__ void __launch_bounds__(128) add_chunks(const float* sums, int64_t count, int64_t stride, int64_t width, float* target) {
  const int64_t i = int64_t{blockIdx.x} * 128 + threadIdx.x;
  if (i >= width) return;
  float sum = 0;
  for (int64_t c = 0; c < count; ++c) sum += sums[c * stride + i];
  target[i] += sum;
}

inline void add_row_sums(Cuda& device, const float* sums, int64_t count, int64_t stride, int64_t width, float* target) {
  if (count > 0) device.launch("add_chunks", add_chunks, grid_of(divide_up(width, 128)), 128, 0, sums, count, stride, width, target);
}

}  // namespace
}  // namespace nichelm
