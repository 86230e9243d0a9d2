// CUDA kernels: chunk by chunk over tokens: logits in f32 by the matrix product, a block a row of them for its loss and gradient, then the two products of
// the gradient. Tokens of weight 0 go along as zeros: how many there are is known on the device only. Chunks depend on the shape alone.
#include "ops/linear_cross_entropy/linear_cross_entropy.h"

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

// A block a row. logits: (tokens, vocabulary); dlogits likewise, or null. dlogits may lie on logits where both are f32.
template <class T, int V>
__global__ void __launch_bounds__(kThreads) row_loss(const float* logits, const int32_t* targets, const float* token_weights, float* nll, T* dlogits, int64_t vocabulary) {
  const int64_t row = blockIdx.x, first = threadIdx.x * V, step = kThreads * V;
  const float counts = token_weights[row];
  logits += row * vocabulary;
  if (dlogits) dlogits += row * vocabulary;
  if (counts == 0) {
    if (threadIdx.x == 0) nll[row] = 0;
    const float none[V] = {};
    for (int64_t i = first; dlogits && i < vocabulary; i += step) store_vector<V>(none, dlogits + i);
    return;
  }
  double* parts = shared_memory<double>();
  float most = -INFINITY;  // NaN loses here; it shows in the total
  for (int64_t i = first; i < vocabulary; i += step) {
    float x[V];
    load_vector<V>(logits + i, x);
#pragma unroll
    for (int j = 0; j < V; ++j) most = fmaxf(most, x[j]);
  }
  most = block_max(most, reinterpret_cast<float*>(parts + kThreads / 32));
  float sum = 0;
  for (int64_t i = first; i < vocabulary; i += step) {
    float x[V];
    load_vector<V>(logits + i, x);
#pragma unroll
    for (int j = 0; j < V; ++j) sum += exp_fast(x[j] - most);
  }
  const double total = block_sum(static_cast<double>(sum), parts);
  const int64_t target = targets[row];
  const bool inside = target >= 0 && target < vocabulary;
  if (threadIdx.x == 0) nll[row] = inside ? static_cast<float>(log(total) + most - logits[target]) : NAN;
  if (!dlogits) return;
  __syncthreads();  // the target's logit is read before it is written over
  const float over_total = static_cast<float>(1 / total), by = inside ? counts : NAN;
  for (int64_t i = first; i < vocabulary; i += step) {
    float x[V];
    load_vector<V>(logits + i, x);
#pragma unroll
    for (int j = 0; j < V; ++j) x[j] = by * (exp_fast(x[j] - most) * over_total - (i + j == target ? 1.0f : 0.0f));
    store_vector<V>(x, dlogits + i);
  }
}

__global__ void __launch_bounds__(kThreads) sum_loss(const float* nll, const float* token_weights, int64_t tokens, float* loss) {
  double sum = 0;
  for (int64_t n = threadIdx.x; n < tokens; n += kThreads)
    if (token_weights[n] != 0) sum += static_cast<double>(token_weights[n]) * nll[n];
  sum = block_sum(sum, shared_memory<double>());
  if (threadIdx.x == 0) *loss = static_cast<float>(sum);
}

// What both ops have; dx and dweight are absent where there is no gradient.
struct Loss { Tensor x, weight, targets, token_weights, nll, loss, dx, dweight; };

// Few chunks, since each adds to the whole of dweight; but logits of no more than 512 MiB.
int64_t chunk_tokens(int64_t tokens, int64_t vocabulary) {
  constexpr int64_t kLogitBytes = int64_t{512} << 20, kTile = 128, kMost = 4096;
  const int64_t fitting = kLogitBytes / (4 * vocabulary) / kTile * kTile, most = fitting < kTile ? kTile : fitting > kMost ? kMost : fitting;
  return tokens < most ? tokens : most;
}

template <class T> void compute(Cuda& device, const Loss& op) {
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
    const float* weights = op.token_weights.as<const float>() + first;
    with_vector<T>(width, [&](auto v) {
      device.launch("take_counting", take_counting<T, v>, grid_of(divide_up(size, v * kThreads)), kThreads, 0, op.x.as<const T>() + first * width, weights, x, size, width);
    });
    const Tensor some_x{x, type, 2, {count, width}}, some_logits{logits, Type::f32, 2, {count, vocabulary}};
    run(device, Matmul{{some_x}, {op.weight}, {}, {}, {}, {some_logits}, {}, false, true, false});
    const auto loss_of_rows = [&](auto v) {
      constexpr size_t kShared = kThreads / 32 * (sizeof(double) + sizeof(float));
      device.launch("row_loss", row_loss<T, v>, grid_of(count), kThreads, kShared, logits, op.targets.as<const int32_t>() + first, weights, op.nll.as<float>() + first, dlogits, vocabulary);
    };
    if (vocabulary % 4 == 0) loss_of_rows(std::integral_constant<int, 4>{});
    else loss_of_rows(std::integral_constant<int, 1>{});
    if (!gradient) continue;
    const Tensor slopes{dlogits, type, 2, {count, vocabulary}}, some_dx{op.dx.as<T>() + first * width, type, 2, {count, width}};
    run(device, Matmul{{slopes}, {op.weight}, {}, {}, {}, {some_dx}, {}, false, false, false});
    if (op.dweight.present()) run(device, MatmulAccumulate{{slopes}, {some_x}, {op.dweight}, true, false});
  }
  device.launch("sum_loss", sum_loss, dim3(1), kThreads, kThreads / 32 * sizeof(double), op.nll.as<const float>(), op.token_weights.as<const float>(), tokens, op.loss.as<float>());
}

}  // namespace

template <> void run(Cuda& device, const LinearCrossEntropy& op) {
  const Loss loss{op.x, op.weight, op.targets, op.token_weights, op.nll, op.loss, {}, {}};
  op.x.type == Type::bf16 ? compute<Bf16>(device, loss) : compute<float>(device, loss);
}

template <> void run(Cuda& device, const LinearCrossEntropyGradient& op) {
  const Loss loss{op.x, op.weight, op.targets, op.token_weights, op.nll, op.loss, op.dx, op.dweight};
  op.x.type == Type::bf16 ? compute<Bf16>(device, loss) : compute<float>(device, loss);
}

NICHELM_CUDA_KERNELS(LinearCrossEntropy, LinearCrossEntropyGradient)

}  // namespace nichelm
