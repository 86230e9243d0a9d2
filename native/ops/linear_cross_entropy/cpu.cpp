// CPU kernel: the output layer in chunks of tokens (output_layer.h), with a softmax a row.
#include "ops/cross_entropy_rows.h"
#include "ops/linear_cross_entropy/linear_cross_entropy.h"
#include "ops/linear_cross_entropy/output_layer.h"

namespace nichelm {
namespace {

// One token: its nll, and where dlogits is not null the gradient of its logits, which may lie where the logits do.
template <class T> float token_nll(float* logits, int64_t vocabulary, int32_t target, float weight, T* dlogits) {
  if (!in_vocabulary(target, vocabulary, dlogits)) return __builtin_nanf("");
  const float largest = largest_of(logits, vocabulary), chosen = logits[target];
  const double total = exponentials(logits, vocabulary, largest, 1, vocabulary);  // and ask for the next row
  if (dlogits) {
    const float factor = static_cast<float>(double{weight} / total), of_target = static_cast<float>((logits[target] / total - 1) * double{weight});
    over_several(0, vocabulary, [&](int64_t i, auto lanes, auto n) NICHELM_INLINE_LAMBDA { store_several(load_several<n()>(logits + i, lanes) * factor, dlogits + i, lanes); });
    narrow(of_target, dlogits[target]);
  }
  return static_cast<float>(__builtin_log(total) + (double{largest} - double{chosen}));
}

template <class T> void compute(cpu::NICHELM_ISA& device, const OutputLayer& op) {
  const int64_t vocabulary = op.weight.rows();
  const int32_t* targets = op.targets.as<int32_t>();
  const float* weights = op.token_weights.as<float>();
  output_layer<T>(device, op, [=](int64_t place, float* logits, T* dlogits, int) {
    const float nll = token_nll<T>(logits, vocabulary, targets[place], weights[place], dlogits);
    return TokenLoss{nll, nll};
  });
}

template <class T> void pass_over(Cpu& device, const CrossEntropyRows& rows) {
  const int64_t vocabulary = rows.logits.width();
  each_row(device, rows.logits.rows(), [&](int64_t n, int) {
    rows.nll[n] = token_nll<T>(rows.logits.as<float>() + n * vocabulary, vocabulary, rows.targets[n], rows.weights[n], rows.dlogits.as<T>() + n * vocabulary);
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
