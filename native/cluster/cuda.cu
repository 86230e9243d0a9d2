// CUDA kernels of k-means. Assignment: products with all centroids by the matrix product, chunk by chunk of rows, then a warp a row finds the nearest. Update:
// rows are sorted by label, stably, so that a cluster's rows are in order; its sums go over them by eight warps, each every eighth row.
#include "cluster/cuda_ops.h"

#include "cuda/reduce.h"
#include "cuda/sort.h"
#include "ops/matmul/matmul.h"

namespace nichelm {

template <> void run(Cuda& device, const Matmul& op);

namespace {

constexpr int kThreads = 256, kWarps = kThreads / 32;

// squares[r] = |x[r]|², a warp a row.
__global__ void __launch_bounds__(kThreads) squared_norms(const float* x, int64_t rows, int64_t width, float* squares) {
  const int64_t row = int64_t{blockIdx.x} * kWarps + threadIdx.x / 32;
  if (row >= rows) return;
  float sum = 0;
  for (int64_t i = threadIdx.x % 32; i < width; i += 32) sum += x[row * width + i] * x[row * width + i];
  sum = warp_sum(sum);
  if (threadIdx.x % 32 == 0) squares[row] = sum;
}

// A warp a row. Of equal distances the lower number wins, among a lane's own and then among the lanes'.
__global__ void __launch_bounds__(kThreads) nearest(const float* dots, const float* squares, const float* centre_squares, int64_t rows, int64_t clusters, int32_t* labels, float* distances) {
  const int64_t row = int64_t{blockIdx.x} * kWarps + threadIdx.x / 32;
  if (row >= rows) return;
  const float own = squares[row];
  float least = INFINITY;
  int32_t label = 0x7fffffff;
  bool lost = own != own;
  for (int64_t c = threadIdx.x % 32; c < clusters; c += 32) {
    const float distance = own - 2 * dots[row * clusters + c] + centre_squares[c];
    lost = lost || distance != distance;
    if (distance < least) least = distance, label = static_cast<int32_t>(c);
  }
#pragma unroll
  for (int lane = 16; lane > 0; lane /= 2) {
    const float other = __shfl_xor_sync(~0u, least, lane);
    const int32_t of_other = __shfl_xor_sync(~0u, label, lane);
    if (other < least || (other == least && of_other < label)) least = other, label = of_other;
  }
  lost = __ballot_sync(~0u, lost) != 0;
  if (threadIdx.x % 32 == 0) {
    labels[row] = label < clusters ? label : 0;
    distances[row] = lost ? NAN : least < 0 ? 0 : least;
  }
}

__global__ void __launch_bounds__(kThreads) copy_labels(const int32_t* labels, int64_t rows, int32_t* keys) {
  const int64_t i = int64_t{blockIdx.x} * kThreads + threadIdx.x;
  if (i < rows) keys[i] = labels[i];
}

// begins[c] = how many of the sorted keys are less than c. begins: (clusters + 1)
__global__ void __launch_bounds__(kThreads) find_begins(const int32_t* keys, int64_t rows, int64_t clusters, int32_t* begins) {
  const int64_t c = int64_t{blockIdx.x} * kThreads + threadIdx.x;
  if (c > clusters) return;
  int64_t low = 0, high = rows;
  while (low < high) {
    const int64_t middle = (low + high) / 2;
    if (keys[middle] < c) low = middle + 1;
    else high = middle;
  }
  begins[c] = static_cast<int32_t>(low);
}

// A block a cluster and 32 columns, a lane a column.
__global__ void __launch_bounds__(kThreads) take_means(const float* x, const int32_t* places, const int32_t* begins, int64_t width, float* centroids) {
  const int64_t c = blockIdx.x, column = int64_t{blockIdx.y} * 32 + threadIdx.x % 32, first = begins[c], last = begins[c + 1];
  const int warp = threadIdx.x / 32;
  if (first == last) return;
  double sum = 0;
  for (int64_t i = first + warp; column < width && i < last; i += kWarps) sum += static_cast<double>(x[places[i] * width + column]);
  double* sums = shared_memory<double>();
  sums[threadIdx.x] = sum;
  __syncthreads();
  if (warp != 0 || column >= width) return;
  for (int w = 1; w < kWarps; ++w) sum += sums[w * 32 + threadIdx.x];
  centroids[c * width + column] = static_cast<float>(sum / static_cast<double>(last - first));
}

}  // namespace

template <> void run(Cuda& device, const KmeansAssign& op) {
  constexpr int64_t kDots = int64_t{64} << 20;  // elements of a chunk of products
  const int64_t rows = op.x.rows(), width = op.x.width(), clusters = op.centroids.rows(), fitting = kDots / clusters, chunk = fitting < 128 ? 128 : fitting < rows ? fitting : rows;
  float* memory = device.scratch_of<float>(clusters + chunk + chunk * clusters);
  float *centre_squares = memory, *squares = memory + clusters, *dots = squares + chunk;
  const float *x = op.x.as<const float>(), *centroids = op.centroids.as<const float>();
  device.launch("squared_norms", squared_norms, grid_of(divide_up(clusters, kWarps)), kThreads, 0, centroids, clusters, width, centre_squares);
  for (int64_t first = 0; first < rows; first += chunk) {
    const int64_t count = rows - first < chunk ? rows - first : chunk;
    const Tensor some{const_cast<float*>(x) + first * width, Type::f32, 2, {count, width}}, products{dots, Type::f32, 2, {count, clusters}};
    run(device, Matmul{{some}, {op.centroids}, {}, {}, {}, {products}, {}, false, true, false});
    device.launch("squared_norms", squared_norms, grid_of(divide_up(count, kWarps)), kThreads, 0, x + first * width, count, width, squares);
    device.launch("nearest", nearest, grid_of(divide_up(count, kWarps)), kThreads, 0, dots, squares, centre_squares, count, clusters, op.labels.as<int32_t>() + first, op.distances.as<float>() + first);
  }
}

template <> void run(Cuda& device, const KmeansUpdate& op) {
  const int64_t rows = op.x.rows(), width = op.x.width(), clusters = op.centroids.rows();
  if (rows == 0) return;
  int32_t* memory = device.scratch_of<int32_t>(sort_words(rows) + clusters + 1);
  int32_t* begins = memory + sort_words(rows);
  device.launch("copy_labels", copy_labels, grid_of(divide_up(rows, kThreads)), kThreads, 0, op.labels.as<const int32_t>(), rows, memory);
  const Sorted sorted = sort_places(device, memory, rows, clusters, memory);
  device.launch("find_begins", find_begins, grid_of(divide_up(clusters + 1, kThreads)), kThreads, 0, sorted.keys, rows, clusters, begins);
  const dim3 grid(static_cast<unsigned>(clusters), static_cast<unsigned>(divide_up(width, 32)));
  device.launch("take_means", take_means, grid, kThreads, kThreads * sizeof(double), op.x.as<const float>(), sorted.places, begins, width, op.centroids.as<float>());
}

NICHELM_CUDA_KERNELS(KmeansAssign, KmeansUpdate)

}  // namespace nichelm
