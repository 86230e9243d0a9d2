// CUDA kernels: the output layer in chunks of tokens (output_layer_cuda.h), a block a row of logits.
#include "ops/linear_cross_entropy/linear_cross_entropy.h"

#include "ops/linear_cross_entropy/output_layer_cuda.h"

namespace nichelm {
namespace {

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
  const float most = largest_of<V>(logits, vocabulary, reinterpret_cast<float*>(parts + kThreads / 32));
  const double total = sum_of_exponentials<V>(logits, vocabulary, most, 1, parts);
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

template <class T> void compute(Cuda& device, const OutputLayer& op) {
  float* nll = op.nll.as<float>();
  output_layer<T>(device, op, nll, [&](const Chunk<T>& c) {
    constexpr size_t kShared = kThreads / 32 * (sizeof(double) + sizeof(float));
    with_logits(c.vocabulary, [&](auto v) {
      device.launch("row_loss", row_loss<T, v>, grid_of(c.count), kThreads, kShared, c.logits, op.targets.as<const int32_t>() + c.first, op.token_weights.as<const float>() + c.first, nll + c.first, c.dlogits,
                    c.vocabulary);
    });
  });
}

}  // namespace

template <> void run(Cuda& device, const LinearCrossEntropy& op) {
  const OutputLayer layer{op.x, op.weight, op.targets, op.token_weights, op.nll, op.loss, {}, {}};
  op.x.type == Type::bf16 ? compute<Bf16>(device, layer) : compute<float>(device, layer);
}

template <> void run(Cuda& device, const LinearCrossEntropyGradient& op) {
  const OutputLayer layer{op.x, op.weight, op.targets, op.token_weights, op.nll, op.loss, op.dx, op.dweight};
  op.x.type == Type::bf16 ? compute<Bf16>(device, layer) : compute<float>(device, layer);
}

NICHELM_CUDA_KERNELS(LinearCrossEntropy, LinearCrossEntropyGradient)

}  // namespace nichelm
