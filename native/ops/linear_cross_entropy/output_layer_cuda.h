// What the output layer's losses share on CUDA: chunk by chunk over tokens, logits in f32 by the matrix product, a pass over the rows of them for loss and
// gradient, then the two products of the gradient. Tokens of weight 0 go along as zeros: how many there are is known on the device only. Chunks depend on
// the shape alone. Everything here is local to the kernel file that includes it.
#pragma once
#include "cuda/reduce.h"
#include "cuda/vector.h"
#include "ops/matmul/matmul.h"
#include "runtime/math.h"

namespace nichelm {

template <> void run(Cuda& device, const Matmul& op);
template <> void run(Cuda& device, const MatmulAccumulate& op);

namespace {

constexpr int kThreads = 256;

// Rows of x that count, zeros elsewhere. x, y: (tokens, width)
template <class T, int V> __global__ void __launch_bounds__(kThreads) take_counting(const T* x, const float* token_weights, T* y, int64_t size, int64_t width) {
  const int64_t i = (int64_t{blockIdx.x} * kThreads + threadIdx.x) * V;
  if (i >= size) return;
  float v[V] = {};
  if (token_weights[i / width] != 0) load_vector<V>(x + i, v);
  store_vector<V>(v, y + i);
}

// loss = sum over tokens of their weight times their loss.
__global__ void __launch_bounds__(kThreads) sum_loss(const float* losses, const float* token_weights, int64_t tokens, float* loss) {
  double sum = 0;
  for (int64_t n = threadIdx.x; n < tokens; n += kThreads)
    if (token_weights[n] != 0) sum += static_cast<double>(token_weights[n]) * losses[n];
  sum = block_sum(sum, shared_memory<double>());
  if (threadIdx.x == 0) *loss = static_cast<float>(sum);
}

// The parts of a row's pass that the losses have in common; V elements a load, the block's threads side by side.
// The largest element; NaN loses here, it shows in the total. parts: a float a warp.
template <int V> __device__ __forceinline__ float largest_of(const float* x, int64_t size, float* parts) {
  float most = -INFINITY;
  for (int64_t i = threadIdx.x * V; i < size; i += kThreads * V) {
    float v[V];
    load_vector<V>(x + i, v);
#pragma unroll
    for (int j = 0; j < V; ++j) most = fmaxf(most, v[j]);
  }
  return block_max(most, parts);
}
// The sum of exp((x - most) sharpness). parts: a double a warp.
template <int V> __device__ __forceinline__ double sum_of_exponentials(const float* x, int64_t size, float most, float sharpness, double* parts) {
  float sum = 0;
  for (int64_t i = threadIdx.x * V; i < size; i += kThreads * V) {
    float v[V];
    load_vector<V>(x + i, v);
#pragma unroll
    for (int j = 0; j < V; ++j) sum += exp_fast((v[j] - most) * sharpness);
  }
  return block_sum(static_cast<double>(sum), parts);
}

// What all of these ops have; dx and dweight are absent where there is no gradient, dweight also where the weight is frozen.
struct OutputLayer { Tensor x, weight, targets, token_weights, nll, loss, dx, dweight; };

// Few chunks, since each adds to the whole of dweight; but logits of no more than 512 MiB.
int64_t chunk_tokens(int64_t tokens, int64_t vocabulary) {
  constexpr int64_t kLogitBytes = int64_t{512} << 20, kTile = 128, kMost = 4096;
  const int64_t fitting = kLogitBytes / (4 * vocabulary) / kTile * kTile, most = fitting < kTile ? kTile : fitting > kMost ? kMost : fitting;
  return tokens < most ? tokens : most;
}

// A chunk of tokens on its way: logits and dlogits (count, vocabulary), which lie in one place where both are f32; dlogits is null without a gradient.
template <class T> struct Chunk {
  int64_t first, count, vocabulary;
  float* logits;
  T* dlogits;
};

// rows(chunk) computes nll, what each token adds to the loss (losses, all tokens), and dlogits.
template <class T, class Rows> void output_layer(Cuda& device, const OutputLayer& op, const float* losses, const Rows& rows) {
  const int64_t tokens = op.x.rows(), width = op.x.width(), vocabulary = op.weight.rows(), chunk = chunk_tokens(tokens, vocabulary);
  const Type type = op.x.type;
  const bool gradient = op.dx.present();
  const auto aligned = [](int64_t bytes) { return divide_up(bytes, 256) * 256; };
  const int64_t logit_bytes = aligned(chunk * vocabulary * 4), x_bytes = aligned(chunk * width * bytes_of(type)), dlogit_bytes = gradient && type == Type::bf16 ? chunk * vocabulary * 2 : 0;
  char* memory = device.scratch_of<char>(logit_bytes + x_bytes + dlogit_bytes);
  float* logits = reinterpret_cast<float*>(memory);
  T* x = reinterpret_cast<T*>(memory + logit_bytes);
  T* dlogits = !gradient ? nullptr : reinterpret_cast<T*>(type == Type::bf16 ? memory + logit_bytes + x_bytes : memory);
  for (int64_t first = 0; first < tokens; first += chunk) {
    const int64_t count = tokens - first < chunk ? tokens - first : chunk, size = count * width;
    with_vector<T>(width, [&](auto v) {
      device.launch("take_counting", take_counting<T, v>, grid_of(divide_up(size, v * kThreads)), kThreads, 0, op.x.as<const T>() + first * width, op.token_weights.as<const float>() + first, x, size, width);
    });
    const Tensor some_x{x, type, 2, {count, width}}, some_logits{logits, Type::f32, 2, {count, vocabulary}};
    run(device, Matmul{{some_x}, {op.weight}, {}, {}, {}, {some_logits}, {}, false, true, false});
    rows(Chunk<T>{first, count, vocabulary, logits, dlogits});
    if (!gradient) continue;
    const Tensor slopes{dlogits, type, 2, {count, vocabulary}}, some_dx{op.dx.as<T>() + first * width, type, 2, {count, width}};
    run(device, Matmul{{slopes}, {op.weight}, {}, {}, {}, {some_dx}, {}, false, false, false});
    if (op.dweight.present()) run(device, MatmulAccumulate{{slopes}, {some_x}, {op.dweight}, true, false});
  }
  device.launch("sum_loss", sum_loss, dim3(1), kThreads, kThreads / 32 * sizeof(double), losses, op.token_weights.as<const float>(), tokens, op.loss.as<float>());
}

// Calls act with std::integral_constant<int, V>: how many logits of a row a load takes.
template <class Act> void with_logits(int64_t vocabulary, const Act& act) {
  if (vocabulary % 4 == 0) act(std::integral_constant<int, 4>{});
  else act(std::integral_constant<int, 1>{});
}

}  // namespace
}  // namespace nichelm
