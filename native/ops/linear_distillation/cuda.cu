// CUDA kernels: the output layer in chunks of tokens (linear_cross_entropy/output_layer_cuda.h), a block a row of logits. Where only some of the teacher's
// probabilities are known, the logits of these are put aside and marked, so that what is left of the row is the others.
#include "ops/linear_distillation/linear_distillation.h"

#include "ops/linear_cross_entropy/output_layer_cuda.h"

namespace nichelm {
namespace {

constexpr int kWarps = kThreads / 32;
constexpr size_t kShared = kWarps * (6 * sizeof(double) + 3 * sizeof(float));

// Operands of a chunk's rows. teacher: (rows, vocabulary), or null, then ids and probabilities: (rows, k) and room for as many logits.
template <class T> struct Rows {
  float* logits;
  T* dlogits;
  const int32_t* targets;
  const float *token_weights, *teacher;
  const int32_t* ids;
  const float* probabilities;
  float *known, *nll, *losses;
  int64_t vocabulary, k;
  float alpha, temperature;
};

// A row's shared memory: each sum has places of its own, so that no barrier is needed between them.
struct Parts {
  double* sums;
  float* most;
};

template <class T, int V> __device__ __forceinline__ void fill_row(T* row, int64_t size, float value) {
  float v[V];
#pragma unroll
  for (int j = 0; j < V; ++j) v[j] = value;
  for (int64_t i = threadIdx.x * V; i < size; i += kThreads * V) store_vector<V>(v, row + i);
}

// The gradient is exp(z - most) of_hard, less hard at the target, and of_soft times the teacher's part.
struct Slopes { float most, of_hard, hard, of_soft, sharpness; };

// g = p - q, q = softmax(t sharpness); gives KL(q || p). z: logits, from their largest most.
template <class T, int V>
__device__ __forceinline__ double against_logits(const float* z, const float* t, T* dlogits, int64_t vocabulary, int64_t target, const Slopes& s, const Parts& parts) {
  const float most_t = largest_of<V>(t, vocabulary, parts.most + kWarps);
  float sum_p = 0, sum_q = 0, weighted = 0;
  for (int64_t i = threadIdx.x * V; i < vocabulary; i += kThreads * V) {
    float x[V], y[V];
    load_vector<V>(z + i, x);
    load_vector<V>(t + i, y);
#pragma unroll
    for (int j = 0; j < V; ++j) {
      const float e = exp_fast((y[j] - most_t) * s.sharpness);
      sum_p += exp_fast((x[j] - s.most) * s.sharpness);
      sum_q += e;
      weighted += e * ((y[j] - most_t) - (x[j] - s.most));
    }
  }
  double total_p = static_cast<double>(sum_p), total_q = static_cast<double>(sum_q);
  block_sums(total_p, total_q, parts.sums + kWarps);
  const double product = block_sum(static_cast<double>(weighted), parts.sums + 3 * kWarps);
  if (dlogits) {
    const float of_p = static_cast<float>(1 / total_p), of_q = static_cast<float>(1 / total_q);
    for (int64_t i = threadIdx.x * V; i < vocabulary; i += kThreads * V) {
      float x[V], y[V];
      load_vector<V>(z + i, x);
      load_vector<V>(t + i, y);
#pragma unroll
      for (int j = 0; j < V; ++j) {
        const float g = exp_fast((x[j] - s.most) * s.sharpness) * of_p - exp_fast((y[j] - most_t) * s.sharpness) * of_q, p = exp_fast(x[j] - s.most);
        x[j] = (p * s.of_hard - (i + j == target ? s.hard : 0.0f)) + g * s.of_soft;
      }
      store_vector<V>(x, dlogits + i);
    }
  }
  return product * static_cast<double>(s.sharpness) / total_q + log(total_p) - log(total_q);
}

// The same where only some of q is known; ids are in the vocabulary. z is marked where they are, and known filled with what it held there.
template <class T, int V>
__device__ __forceinline__ double against_most_probable(float* z, const int32_t* ids, const float* q, float* known, int64_t k, T* dlogits, int64_t vocabulary, int64_t target, const Slopes& s,
                                                        const Parts& parts) {
  double sum_q = 0, total = 0;  // of q, and of the exponentials from the largest logit
  for (int64_t j = threadIdx.x; j < k; j += kThreads) {
    known[j] = z[ids[j]];
    z[ids[j]] = -INFINITY;
    sum_q += static_cast<double>(q[j]);
    total += static_cast<double>(exp_fast((known[j] - s.most) * s.sharpness));
  }
  block_sums(sum_q, total, parts.sums + kWarps);  // a barrier: all is marked
  const bool whole = k == vocabulary || sum_q > 1;
  // The others' exponentials are taken from their own largest: their share may be so small that they would vanish beside the known ones.
  const float most_other = k < vocabulary ? largest_of<V>(z, vocabulary, parts.most + kWarps) : s.most;
  const double others = k < vocabulary ? sum_of_exponentials<V>(z, vocabulary, most_other, s.sharpness, parts.sums + 3 * kWarps) : 0;
  const double of_others = k < vocabulary ? static_cast<double>(exp_fast((most_other - s.most) * s.sharpness)) : 0, missing = whole ? 0 : 1 - sum_q;
  total += others * of_others;
  const double log_total = log(total), divide_q = whole ? sum_q : 1;
  double divergence = 0;
  for (int64_t j = threadIdx.x; j < k; j += kThreads) {
    const double share = static_cast<double>(q[j]) / divide_q;
    if (share != 0) divergence += share * (log(share) - (static_cast<double>(known[j]) - static_cast<double>(s.most)) * static_cast<double>(s.sharpness) + log_total);
  }
  divergence = block_sum(divergence, parts.sums + 4 * kWarps);
  if (missing != 0) divergence += missing * (log(missing) - (static_cast<double>(most_other) - static_cast<double>(s.most)) * static_cast<double>(s.sharpness) - log(others) + log_total);
  if (!dlogits) return divergence;
  if (k < vocabulary) {
    const float factor = static_cast<float>(of_others / total - missing / others);
    for (int64_t i = threadIdx.x * V; i < vocabulary; i += kThreads * V) {
      float x[V];
      load_vector<V>(z + i, x);
#pragma unroll
      for (int j = 0; j < V; ++j) {
        const float g = exp_fast((x[j] - most_other) * s.sharpness) * factor, p = exp_fast(x[j] - s.most);
        x[j] = (p * s.of_hard - (i + j == target ? s.hard : 0.0f)) + g * s.of_soft;
      }
      store_vector<V>(x, dlogits + i);
    }
    __syncthreads();  // what is written for marked places is written over
  }
  for (int64_t j = threadIdx.x; j < k; j += kThreads) {
    const double from_most = static_cast<double>(known[j]) - static_cast<double>(s.most);
    const float g = static_cast<float>(static_cast<double>(exp_fast(static_cast<float>(from_most * static_cast<double>(s.sharpness)))) / total - static_cast<double>(q[j]) / divide_q);
    narrow((exp_fast(known[j] - s.most) * s.of_hard - (ids[j] == target ? s.hard : 0.0f)) + g * s.of_soft, dlogits[ids[j]]);
  }
  return divergence;
}

// A block a row.
template <class T, int V> __global__ void __launch_bounds__(kThreads) row_distillation(const Rows<T> op) {
  const int64_t row = blockIdx.x, vocabulary = op.vocabulary, k = op.k;
  const float counts = op.token_weights[row];
  float* z = op.logits + row * vocabulary;
  T* dlogits = op.dlogits ? op.dlogits + row * vocabulary : nullptr;
  if (counts == 0) {
    if (threadIdx.x == 0) op.nll[row] = op.losses[row] = 0;
    if (dlogits) fill_row<T, V>(dlogits, vocabulary, 0);
    return;
  }
  double* sums = shared_memory<double>();
  const Parts parts{sums, reinterpret_cast<float*>(sums + 6 * kWarps)};
  const float most = largest_of<V>(z, vocabulary, parts.most);
  const double total = sum_of_exponentials<V>(z, vocabulary, most, 1, parts.sums);
  const int64_t target = op.targets[row];
  const int32_t* ids = op.ids ? op.ids + row * k : nullptr;
  float wrong = target < 0 || target >= vocabulary ? 1.0f : 0.0f;
  for (int64_t j = threadIdx.x; ids && j < k; j += kThreads)
    if (ids[j] < 0 || ids[j] >= vocabulary) wrong = 1;
  if (block_max(wrong, parts.most + 2 * kWarps) != 0) {
    if (threadIdx.x == 0) op.nll[row] = op.losses[row] = NAN;
    if (dlogits) fill_row<T, V>(dlogits, vocabulary, NAN);
    return;
  }
  const float nll = static_cast<float>(log(total) + most - z[target]);
  __syncthreads();  // the target's logit is read before it is written over
  const double alpha = static_cast<double>(op.alpha), temperature = static_cast<double>(op.temperature), weight = static_cast<double>(counts), hard = (1 - alpha) * weight;
  const Slopes slopes{most, static_cast<float>(hard / total), static_cast<float>(hard), static_cast<float>(alpha * temperature * weight), 1 / op.temperature};
  const double divergence = ids ? against_most_probable<T, V>(z, ids, op.probabilities + row * k, op.known + row * k, k, dlogits, vocabulary, target, slopes, parts)
                                : against_logits<T, V>(z, op.teacher + row * vocabulary, dlogits, vocabulary, target, slopes, parts);
  if (threadIdx.x == 0) {
    op.nll[row] = nll;
    op.losses[row] = static_cast<float>((1 - alpha) * static_cast<double>(nll) + alpha * temperature * temperature * divergence);
  }
}

template <class T, class Op> void compute(Cuda& device, const Op& op, const OutputLayer& layer) {
  const int64_t tokens = op.x.rows(), k = op.ids.present() ? op.ids.width() : 0, most = chunk_tokens(tokens, op.weight.rows());
  float* memory = device.scratch_of<float>(tokens + most * k, 1);  // losses, then the known logits of a chunk
  output_layer<T>(device, layer, memory, [&](const Chunk<T>& c) {
    const auto at = [&](const auto* data, int64_t width) { return data ? data + c.first * width : nullptr; };
    const Rows<T> rows{c.logits, c.dlogits, at(op.targets.template as<const int32_t>(), 1), at(op.token_weights.template as<const float>(), 1), at(op.teacher.template as<const float>(), c.vocabulary),
                       at(op.ids.template as<const int32_t>(), k), at(op.probabilities.template as<const float>(), k), memory + tokens, op.nll.template as<float>() + c.first, memory + c.first, c.vocabulary, k,
                       op.alpha, op.temperature};
    with_logits(c.vocabulary, [&](auto v) { device.launch("row_distillation", row_distillation<T, v>, grid_of(c.count), kThreads, kShared, rows); });
  });
}

template <class Op> void compute(Cuda& device, const Op& op, const OutputLayer& layer) {
  op.x.type == Type::bf16 ? compute<Bf16>(device, op, layer) : compute<float>(device, op, layer);
}

}  // namespace

template <> void run(Cuda& device, const LinearDistillation& op) { compute(device, op, {op.x, op.weight, op.targets, op.token_weights, op.nll, op.loss, {}, {}}); }
template <> void run(Cuda& device, const LinearDistillationGradient& op) {
  compute(device, op, {op.x, op.weight, op.targets, op.token_weights, op.nll, op.loss, op.dx, op.dweight});
}

NICHELM_CUDA_KERNELS(LinearDistillation, LinearDistillationGradient)

}  // namespace nichelm
