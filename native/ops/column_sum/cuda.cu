// CUDA kernels: a block sums a chunk of rows for 128 vectors of columns, a thread its own columns; then the chunks are added in their order.
#include "ops/column_sum/column_sum.h"

#include "cuda/row_sums.h"
#include "cuda/vector.h"

namespace nichelm {
namespace {

constexpr int kThreads = 128;

// x: (rows, width); sums: (chunks, width)
template <class T, int V> __global__ void __launch_bounds__(kThreads) sum_chunk(const T* x, float* sums, RowChunks chunks, int64_t width) {
  const int64_t i = (int64_t{blockIdx.x} * kThreads + threadIdx.x) * V, chunk = blockIdx.y;
  if (i >= width) return;
  float sum[V] = {};
#pragma unroll 4
  for (int64_t row = chunks.first(chunk); row < chunks.last(chunk); ++row) {
    float v[V];
    load_vector<V>(x + row * width + i, v);
#pragma unroll
    for (int j = 0; j < V; ++j) sum[j] += v[j];
  }
#pragma unroll
  for (int j = 0; j < V; ++j) sums[chunk * width + i + j] = sum[j];
}

template <class T> void column_sum(Cuda& device, const ColumnSum& op) {
  const int64_t width = op.x.width();
  const RowChunks chunks = row_chunks(op.x.rows());
  float* sums = device.scratch_of<float>(chunks.count * width);
  with_vector<T>(width, [&](auto v) {
    const dim3 grid(static_cast<unsigned>(divide_up(width, v * kThreads)), static_cast<unsigned>(chunks.count));
    device.launch("column_sum", sum_chunk<T, v>, grid, kThreads, 0, op.x.as<const T>(), sums, chunks, width);
  });
  add_row_sums(device, sums, chunks.count, width, width, op.sum.as<float>());
}

}  // namespace

template <> void run(Cuda& device, const ColumnSum& op) { op.x.type == Type::bf16 ? column_sum<Bf16>(device, op) : column_sum<float>(device, op); }

NICHELM_CUDA_KERNELS(ColumnSum)

}  // namespace nichelm
