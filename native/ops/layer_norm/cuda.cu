// CUDA kernels: a warp a row. The forward reads a row once from memory, twice more from cache. In the gradient a block of warps walks through a chunk of
// rows; each of its threads owns columns, whose sums for dgain and dbias it keeps in shared memory, or in device memory where rows are very long.
#include "ops/layer_norm/layer_norm.h"

#include "cuda/reduce.h"
#include "cuda/row_sums.h"
#include "cuda/vector.h"

namespace nichelm {
namespace {

constexpr int kWarps = 4, kParts = 4 * kWarps;

// x, y: (rows, width); gain, bias: (width); mean, scale: (rows)
template <class T, int V>
__global__ void __launch_bounds__(32 * kWarps) normalize(const T* x, const float* gain, const float* bias, T* y, float* mean, float* scale, int64_t rows, int64_t width, float epsilon) {
  const int64_t row = int64_t{blockIdx.x} * kWarps + threadIdx.x / 32;
  if (row >= rows) return;
  const int lane = threadIdx.x % 32;
  x += row * width, y += row * width;
  float sum = 0, squares = 0;
  for (int64_t i = lane * V; i < width; i += 32 * V) {
    float v[V];
    load_vector<V>(x + i, v);
#pragma unroll
    for (int j = 0; j < V; ++j) sum += v[j];
  }
  const float m = warp_sum(sum) / static_cast<float>(width);
  for (int64_t i = lane * V; i < width; i += 32 * V) {
    float v[V];
    load_vector<V>(x + i, v);
#pragma unroll
    for (int j = 0; j < V; ++j) squares += (v[j] - m) * (v[j] - m);
  }
  const float s = 1 / sqrtf(warp_sum(squares) / static_cast<float>(width) + epsilon);
  for (int64_t i = lane * V; i < width; i += 32 * V) {
    float v[V];
    load_vector<V>(x + i, v);
#pragma unroll
    for (int j = 0; j < V; ++j) v[j] = (v[j] - m) * s * gain[i + j] + bias[i + j];
    store_vector<V>(v, y + i);
  }
  if (lane == 0) mean[row] = m, scale[row] = s;
}

// A block a chunk, all of its threads on one row at a time. gains, biases: (chunks, width), or null. Each pass reads an element of every operand before
// dx is written there, so dx may lie in residual.
template <class T, int V>
__global__ void __launch_bounds__(32 * kWarps) gradient(const T* dy, const T* x, const float* gain, const float* mean, const float* scale, const T* residual, T* dx, float* gains, float* biases,
                                                        bool sums_are_shared, RowChunks chunks, int64_t width) {
  float* parts = shared_memory<float>();  // two sets, used in turn, so that one barrier a row is enough
  const int64_t chunk = blockIdx.x;
  float* gain_sums = !gains ? nullptr : sums_are_shared ? parts + kParts : gains + chunk * width;
  float* bias_sums = !biases ? nullptr : sums_are_shared ? parts + kParts + width : biases + chunk * width;
  for (int64_t row = chunks.first(chunk); row < chunks.last(chunk); ++row) {
    const float m = mean[row], s = scale[row];
    const int64_t at = row * width;
    const bool first = row == chunks.first(chunk);
    float sum_g = 0, sum_gn = 0;
    for (int64_t i = threadIdx.x * V; i < width; i += 32 * kWarps * V) {
      float d[V], v[V];
      load_vector<V>(dy + at + i, d), load_vector<V>(x + at + i, v);
#pragma unroll
      for (int j = 0; j < V; ++j) {
        const float n = (v[j] - m) * s, g = d[j] * gain[i + j];
        sum_g += g, sum_gn += g * n;
        if (gain_sums) gain_sums[i + j] = (first ? 0 : gain_sums[i + j]) + d[j] * n;
        if (bias_sums) bias_sums[i + j] = (first ? 0 : bias_sums[i + j]) + d[j];
      }
    }
    block_sums(sum_g, sum_gn, parts + row % 2 * 2 * kWarps);
    const float mean_g = sum_g / static_cast<float>(width), mean_gn = sum_gn / static_cast<float>(width);
    for (int64_t i = threadIdx.x * V; i < width; i += 32 * kWarps * V) {
      float d[V], v[V];
      load_vector<V>(dy + at + i, d), load_vector<V>(x + at + i, v);
#pragma unroll
      for (int j = 0; j < V; ++j) d[j] = s * (d[j] * gain[i + j] - mean_g - (v[j] - m) * s * mean_gn);
      if (residual) {
        load_vector<V>(residual + at + i, v);
#pragma unroll
        for (int j = 0; j < V; ++j) d[j] += v[j];
      }
      store_vector<V>(d, dx + at + i);
    }
  }
  if (!sums_are_shared) return;
  for (int64_t i = threadIdx.x * V; i < width; i += 32 * kWarps * V)
    for (int j = 0; j < V; ++j) {
      if (gains) gains[chunk * width + i + j] = gain_sums[i + j];
      if (biases) biases[chunk * width + i + j] = bias_sums[i + j];
    }
}

template <class T> void forward(Cuda& device, const LayerNorm& op) {
  const int64_t rows = op.x.rows(), width = op.x.width();
  with_vector<T>(width, [&](auto v) {
    device.launch("layer_norm", normalize<T, v>, grid_of(divide_up(rows, kWarps)), 32 * kWarps, 0, op.x.as<const T>(), op.gain.as<const float>(), op.bias.as<const float>(), op.y.as<T>(),
                  op.mean.as<float>(), op.scale.as<float>(), rows, width, op.epsilon);
  });
}

template <class T> void backward(Cuda& device, const LayerNormGradient& op) {
  const int64_t width = op.x.width();
  const RowChunks chunks = row_chunks(op.x.rows());
  float* sums = device.scratch_of<float>(2 * chunks.count * width);
  float *gains = op.dgain.present() ? sums : nullptr, *biases = op.dbias.present() ? sums + chunks.count * width : nullptr;
  const bool shared = (gains || biases) && 2 * width <= kMostSharedSums;
  const size_t bytes = static_cast<size_t>(kParts + (shared ? 2 * width : 0)) * sizeof(float);
  with_vector<T>(width, [&](auto v) {
    device.launch("layer_norm_gradient", gradient<T, v>, grid_of(chunks.count), 32 * kWarps, bytes, op.dy.as<const T>(), op.x.as<const T>(), op.gain.as<const float>(), op.mean.as<const float>(),
                  op.scale.as<const float>(), op.residual.as<const T>(), op.dx.as<T>(), gains, biases, shared, chunks, width);
  });
  if (gains) add_row_sums(device, gains, chunks.count, width, width, op.dgain.as<float>());
  if (biases) add_row_sums(device, biases, chunks.count, width, width, op.dbias.as<float>());
}

}  // namespace

template <> void run(Cuda& device, const LayerNorm& op) { op.x.type == Type::bf16 ? forward<Bf16>(device, op) : forward<float>(device, op); }
template <> void run(Cuda& device, const LayerNormGradient& op) { op.x.type == Type::bf16 ? backward<Bf16>(device, op) : backward<float>(device, op); }

NICHELM_CUDA_KERNELS(LayerNorm, LayerNormGradient)

}  // namespace nichelm
