// CUDA kernels: a warp a place. The gradient sorts the places by the table row they read (a stable sort); then a block takes each row that occurs, and
// sums it in the order of its places, a thread some columns.
#include "ops/embedding/embedding.h"

#include "cuda/sort.h"
#include "cuda/vector.h"

namespace nichelm {
namespace {

constexpr int kWarps = 4, kThreads = 128;

__device__ __forceinline__ int64_t clamped(int64_t i, int64_t count) { return i < 0 ? 0 : i < count ? i : count - 1; }

// token_table: (vocabulary, width); position_table: (positions, width) or null; y: (size, width)
template <class T, int V>
__global__ void __launch_bounds__(32 * kWarps) embed(const int32_t* tokens, const int32_t* starts, const T* token_table, const T* position_table, T* y, int64_t size, int64_t length, int64_t width,
                                                     int64_t vocabulary, int64_t positions) {
  const int64_t place = int64_t{blockIdx.x} * kWarps + threadIdx.x / 32;
  if (place >= size) return;
  token_table += clamped(tokens[place], vocabulary) * width;
  if (position_table) position_table += clamped(place % length - starts[place], positions) * width;
  for (int64_t i = threadIdx.x % 32 * V; i < width; i += 32 * V) {
    float x[V], p[V];
    load_vector<V>(token_table + i, x);
    if (position_table) {
      load_vector<V>(position_table + i, p);
#pragma unroll
      for (int j = 0; j < V; ++j) x[j] += p[j];
    }
    store_vector<V>(x, y + place * width + i);
  }
}

// The table row that each place adds to; `rows` where it adds to none. Rows are tokens, or positions where starts are given.
__global__ void __launch_bounds__(kThreads) find_rows(const int32_t* tokens, const int32_t* starts, int64_t size, int64_t length, int64_t rows, int32_t* keys) {
  const int64_t place = int64_t{blockIdx.x} * kThreads + threadIdx.x;
  if (place >= size) return;
  const int64_t row = starts ? place % length - starts[place] : tokens[place];
  keys[place] = static_cast<int32_t>(row >= 0 && row < rows ? row : rows);
}

// table[keys[i]] += dy[places[i]], rows after rows; the block of the first place of a row does all of them.
template <class T, int V> __global__ void __launch_bounds__(kThreads) add_rows(const T* dy, const int32_t* keys, const int32_t* places, int64_t size, int64_t rows, int64_t width, float* table) {
  const int64_t first = blockIdx.x, i = (int64_t{blockIdx.y} * kThreads + threadIdx.x) * V;
  const int32_t row = keys[first];
  if (row == rows || (first > 0 && keys[first - 1] == row) || i >= width) return;
  table += row * width + i;
  float sum[V];
#pragma unroll
  for (int j = 0; j < V; ++j) sum[j] = table[j];
#pragma unroll 4
  for (int64_t at = first; at < size && keys[at] == row; ++at) {
    float x[V];
    load_vector<V>(dy + places[at] * width + i, x);
#pragma unroll
    for (int j = 0; j < V; ++j) sum[j] += x[j];
  }
#pragma unroll
  for (int j = 0; j < V; ++j) table[j] = sum[j];
}

template <class T> void embedding(Cuda& device, const Embedding& op) {
  const int64_t size = op.tokens.size(), width = op.token_table.width();
  with_vector<T>(width, [&](auto v) {
    device.launch("embedding", embed<T, v>, grid_of(divide_up(size, kWarps)), 32 * kWarps, 0, op.tokens.as<const int32_t>(), op.starts.as<const int32_t>(), op.token_table.as<const T>(),
                  op.position_table.as<const T>(), op.y.as<T>(), size, op.tokens.width(), width, op.token_table.rows(), op.position_table.rows());
  });
}

template <class T> void scatter_add(Cuda& device, const EmbeddingGradient& op, bool by_position, const Tensor& table) {
  const int64_t size = op.tokens.size(), width = op.dy.width(), rows = table.rows();
  int32_t* memory = device.scratch_of<int32_t>(sort_words(size));
  device.launch("embedding_rows", find_rows, grid_of(divide_up(size, kThreads)), kThreads, 0, op.tokens.as<const int32_t>(), by_position ? op.starts.as<const int32_t>() : nullptr, size,
                op.tokens.width(), rows, memory);
  const Sorted sorted = sort_places(device, memory, size, rows + 1, memory);
  with_vector<T>(width, [&](auto v) {
    const dim3 grid(static_cast<unsigned>(size), static_cast<unsigned>(divide_up(width, v * kThreads)));
    device.launch("embedding_gradient", add_rows<T, v>, grid, kThreads, 0, op.dy.as<const T>(), sorted.keys, sorted.places, size, rows, width, table.as<float>());
  });
}

template <class T> void embedding_gradient(Cuda& device, const EmbeddingGradient& op) {
  if (op.dtoken_table.present()) scatter_add<T>(device, op, false, op.dtoken_table);
  if (op.dposition_table.present()) scatter_add<T>(device, op, true, op.dposition_table);
}

}  // namespace

template <> void run(Cuda& device, const Embedding& op) { op.token_table.type == Type::bf16 ? embedding<Bf16>(device, op) : embedding<float>(device, op); }
template <> void run(Cuda& device, const EmbeddingGradient& op) { op.dy.type == Type::bf16 ? embedding_gradient<Bf16>(device, op) : embedding_gradient<float>(device, op); }

NICHELM_CUDA_KERNELS(Embedding, EmbeddingGradient)

}  // namespace nichelm
