// CUDA kernels: a warp a row. The forward reads a row once from memory and once more from cache. In the gradient a block of warps walks through a
// chunk of rows; each of its threads owns columns, whose sums for dgain it keeps in shared memory, or in device memory where rows are very long.
#include "ops/rms_norm/rms_norm.h"

#include "cuda/reduce.h"
#include "cuda/row_sums.h"
#include "cuda/vector.h"

namespace nichelm {
namespace {

constexpr int kWarps = 4, kParts = 2 * kWarps;

// x, y: (rows, width); gain: (width); scale: (rows)
template <class T, int V> __global__ void __launch_bounds__(32 * kWarps) normalize(const T* x, const float* gain, T* y, float* scale, int64_t rows, int64_t width, float epsilon) {
  const int64_t row = int64_t{blockIdx.x} * kWarps + threadIdx.x / 32;
  if (row >= rows) return;
  const int lane = threadIdx.x % 32;
  x += row * width, y += row * width;
  float squares = 0;
  for (int64_t i = lane * V; i < width; i += 32 * V) {
    float v[V];
    load_vector<V>(x + i, v);
#pragma unroll
    for (int j = 0; j < V; ++j) squares += v[j] * v[j];
  }
  const float s = 1 / sqrtf(warp_sum(squares) / static_cast<float>(width) + epsilon);
  for (int64_t i = lane * V; i < width; i += 32 * V) {
    float v[V];
    load_vector<V>(x + i, v);
#pragma unroll
    for (int j = 0; j < V; ++j) v[j] = v[j] * s * gain[i + j];
    store_vector<V>(v, y + i);
  }
  if (lane == 0) scale[row] = s;
}

// A block a chunk, all of its threads on one row at a time. gains: (chunks, width), or null. Each pass reads an element of every operand before dx is
// written there, so dx may lie in residual.
template <class T, int V>
__global__ void __launch_bounds__(32 * kWarps) gradient(const T* dy, const T* x, const float* gain, const float* scale, const T* residual, T* dx, float* gains, bool sums_are_shared, RowChunks chunks,
                                                        int64_t width) {
  float* parts = shared_memory<float>();  // two sets, used in turn, so that one barrier a row is enough
  const int64_t chunk = blockIdx.x;
  float* sums = sums_are_shared ? parts + kParts : gains ? gains + chunk * width : nullptr;
  for (int64_t row = chunks.first(chunk); row < chunks.last(chunk); ++row) {
    const float s = scale[row];
    const int64_t at = row * width;
    const bool first = row == chunks.first(chunk);
    float sum = 0;
    for (int64_t i = threadIdx.x * V; i < width; i += 32 * kWarps * V) {
      float d[V], v[V];
      load_vector<V>(dy + at + i, d), load_vector<V>(x + at + i, v);
#pragma unroll
      for (int j = 0; j < V; ++j) {
        sum += d[j] * gain[i + j] * v[j];
        if (sums) sums[i + j] = (first ? 0 : sums[i + j]) + d[j] * v[j] * s;
      }
    }
    sum = block_sum(sum, parts + row % 2 * kWarps);
    const float factor = s * s * (sum / static_cast<float>(width));
    for (int64_t i = threadIdx.x * V; i < width; i += 32 * kWarps * V) {
      float d[V], v[V];
      load_vector<V>(dy + at + i, d), load_vector<V>(x + at + i, v);
#pragma unroll
      for (int j = 0; j < V; ++j) d[j] = s * (d[j] * gain[i + j] - v[j] * factor);
      if (residual) {
        load_vector<V>(residual + at + i, v);
#pragma unroll
        for (int j = 0; j < V; ++j) d[j] += v[j];
      }
      store_vector<V>(d, dx + at + i);
    }
  }
  if (sums_are_shared)
    for (int64_t i = threadIdx.x * V; i < width; i += 32 * kWarps * V)
      for (int j = 0; j < V; ++j) gains[chunk * width + i + j] = sums[i + j];
}

template <class T> void forward(Cuda& device, const RmsNorm& op) {
  const int64_t rows = op.x.rows(), width = op.x.width();
  with_vector<T>(width, [&](auto v) {
    device.launch("rms_norm", normalize<T, v>, grid_of(divide_up(rows, kWarps)), 32 * kWarps, 0, op.x.as<const T>(), op.gain.as<const float>(), op.y.as<T>(), op.scale.as<float>(), rows, width,
                  op.epsilon);
  });
}

template <class T> void backward(Cuda& device, const RmsNormGradient& op) {
  const int64_t width = op.x.width();
  const RowChunks chunks = row_chunks(op.x.rows());
  float* gains = op.dgain.present() ? device.scratch_of<float>(chunks.count * width) : nullptr;
  const bool shared = gains && width <= kMostSharedSums;
  const size_t bytes = static_cast<size_t>(kParts + (shared ? width : 0)) * sizeof(float);
  with_vector<T>(width, [&](auto v) {
    device.launch("rms_norm_gradient", gradient<T, v>, grid_of(chunks.count), 32 * kWarps, bytes, op.dy.as<const T>(), op.x.as<const T>(), op.gain.as<const float>(),
                  op.scale.as<const float>(), op.residual.as<const T>(), op.dx.as<T>(), gains, shared, chunks, width);
  });
  if (gains) add_row_sums(device, gains, chunks.count, width, width, op.dgain.as<float>());
}

}  // namespace

template <> void run(Cuda& device, const RmsNorm& op) { op.x.type == Type::bf16 ? forward<Bf16>(device, op) : forward<float>(device, op); }
template <> void run(Cuda& device, const RmsNormGradient& op) { op.x.type == Type::bf16 ? backward<Bf16>(device, op) : backward<float>(device, op); }

NICHELM_CUDA_KERNELS(RmsNorm, RmsNormGradient)

}  // namespace nichelm
