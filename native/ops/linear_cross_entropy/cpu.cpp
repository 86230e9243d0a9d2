// CPU kernel: the output layer in chunks of tokens (output_layer.h), with a softmax a row.
#include "ops/cross_entropy_rows.h"
#include "ops/linear_cross_entropy/linear_cross_entropy.h"
#include "ops/linear_cross_entropy/output_layer.h"

namespace nichelm {
namespace {

// One token: its nll, and where dlogits is not null the gradient of its logits, which may lie where the logits do. e: room for a row, used with a gradient.
template <class T> float token_nll(const float* logits, int64_t vocabulary, int32_t target, float weight, float* e, T* dlogits) {
  if (!in_vocabulary(target, vocabulary, dlogits)) return __builtin_nanf("");
  const float largest = largest_of(logits, vocabulary), chosen = logits[target];
  const double total = exponentials<T>(logits, dlogits ? e : nullptr, vocabulary, largest, 1, [=](int64_t i, auto count) NICHELM_INLINE_LAMBDA {
    fetch_several<count(), 2>(logits + vocabulary + i);  // the next row
    if (sizeof(T) == 2 && dlogits) fetch_several<count(), 2>(dlogits + i);
  });
  if (dlogits) {
    const float factor = static_cast<float>(double{weight} / total), of_target = static_cast<float>((e[target] / total - 1) * double{weight});
    over_several(0, vocabulary, [&](int64_t i, auto lanes, auto n) NICHELM_INLINE_LAMBDA { store_several(load_several<n()>(e + i, lanes) * factor, dlogits + i, lanes); });
    narrow(of_target, dlogits[target]);
  }
  return static_cast<float>(__builtin_log(total) + (double{largest} - double{chosen}));
}

// Where a row's exponentials go: in the place of the logits that f32 gradients overwrite in any case. Beside bf16 gradients they would be written to memory
// for nothing, so there they have a row of the thread's own, which stays in its caches.
template <class T> float* exponentials_of(Cpu& device, float* logits, int64_t vocabulary, int thread) {
  return sizeof(T) == 2 ? static_cast<float*>(device.scratch(thread, vocabulary * 4)) : logits;
}

template <class T> void compute(cpu::NICHELM_ISA& device, const OutputLayer& op) {
  const int64_t vocabulary = op.weight.rows();
  const int32_t* targets = op.targets.as<int32_t>();
  const float* weights = op.token_weights.as<float>();
  output_layer<T>(device, op, [&device, vocabulary, targets, weights](int64_t place, float* logits, T* dlogits, int thread) {
    float* e = dlogits ? exponentials_of<T>(device, logits, vocabulary, thread) : nullptr;
    const float nll = token_nll<T>(logits, vocabulary, targets[place], weights[place], e, dlogits);
    return TokenLoss{nll, nll};
  });
}

template <class T> void pass_over(Cpu& device, const CrossEntropyRows& rows) {
  const int64_t vocabulary = rows.logits.width();
  each_row(device, rows.logits.rows(), [&](int64_t n, int thread) {
    float* logits = rows.logits.as<float>() + n * vocabulary;
    rows.nll[n] = token_nll<T>(logits, vocabulary, rows.targets[n], rows.weights[n], exponentials_of<T>(device, logits, vocabulary, thread), rows.dlogits.as<T>() + n * vocabulary);
  });
}

}  // namespace

template <> void run(cpu::NICHELM_ISA& device, const CrossEntropyRows& rows) { rows.dlogits.type == Type::bf16 ? pass_over<Bf16>(device, rows) : pass_over<float>(device, rows); }

template <> void run(cpu::NICHELM_ISA& device, const LinearCrossEntropy& op) {
  const OutputLayer layer{op.x, op.weight, op.targets, op.token_weights, op.nll, op.loss, {}, {}};
  op.x.type == Type::bf16 ? compute<Bf16>(device, layer) : compute<float>(device, layer);
}

template <> void run(cpu::NICHELM_ISA& device, const LinearCrossEntropyGradient& op) {
  const OutputLayer layer{op.x, op.weight, op.targets, op.token_weights, op.nll, op.loss, op.dx, op.dweight};
  op.x.type == Type::bf16 ? compute<Bf16>(device, layer) : compute<float>(device, layer);
}

}  // namespace nichelm
