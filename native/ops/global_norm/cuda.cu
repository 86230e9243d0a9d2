// CUDA kernels: a block sums the squares of a fixed chunk, in double (squares of f32 neither overflow nor vanish there); one block adds the chunks.
#include "ops/global_norm/global_norm.h"

#include "cuda/reduce.h"
#include "cuda/vector.h"

namespace nichelm {
namespace {

constexpr int kThreads = 256, kEach = 4;
constexpr int64_t kChunk = 16384;

// sums: (chunks)
__global__ void __launch_bounds__(kThreads) square_chunk(const float* gradient, int64_t n, double* sums) {
  const int64_t first = blockIdx.x * kChunk, last = first + kChunk < n ? first + kChunk : n;
  double sum = 0;
  int64_t i = first + threadIdx.x * kEach;
#pragma unroll 4
  for (; i + kEach <= last; i += kThreads * kEach) {
    float x[kEach];
    load_vector<kEach>(gradient + i, x);
#pragma unroll
    for (int j = 0; j < kEach; ++j) sum += static_cast<double>(x[j]) * x[j];
  }
  for (int64_t j = i; j < last && j < i + kEach; ++j) sum += static_cast<double>(gradient[j]) * gradient[j];
  sum = block_sum(sum, shared_memory<double>());
  if (threadIdx.x == 0) sums[blockIdx.x] = sum;
}

// squares: (1), or null
__global__ void __launch_bounds__(kThreads) add_squares(const double* sums, int64_t chunks, const float* squares, float limit, float* norm, float* clip) {
  double sum = 0;
  for (int64_t c = threadIdx.x; c < chunks; c += kThreads) sum += sums[c];
  sum = block_sum(sum, shared_memory<double>());
  if (threadIdx.x != 0) return;
  if (squares) sum += *squares;
  const float root = static_cast<float>(sqrt(sum));
  const bool finite = root - root == 0;
  const double scale = limit / (static_cast<double>(root) + 1e-6);
  *norm = root;
  *clip = !finite ? NAN : limit > 0 && scale < 1 ? static_cast<float>(scale) : 1;
}

}  // namespace

template <> void run(Cuda& device, const GlobalNorm& op) {
  const int64_t n = op.gradient.size(), chunks = divide_up(n, kChunk);
  constexpr size_t kShared = kThreads / 32 * sizeof(double);
  double* sums = device.scratch_of<double>(chunks);
  device.launch("global_norm", square_chunk, grid_of(chunks), kThreads, kShared, op.gradient.as<const float>(), n, sums);
  device.launch("global_norm_end", add_squares, dim3(1), kThreads, kShared, sums, chunks, op.squares.as<const float>(), op.limit, op.norm.as<float>(), op.clip.as<float>());
}

NICHELM_CUDA_KERNELS(GlobalNorm)

}  // namespace nichelm
