// CPU kernel: the output layer in chunks of tokens (linear_cross_entropy/output_layer.h). A row's pass first makes the teacher's part of the gradient
// beside the logits, in the thread's scratch, then the cross-entropy's in their place.
#include "ops/linear_distillation/linear_distillation.h"
#include "ops/linear_cross_entropy/output_layer.h"

namespace nichelm {
namespace {


double log_of(double x) { return __builtin_log(x); }

// g becomes p - q, q = softmax(t sharpness); gives KL(q || p). q: room for a row.
double against_logits(const float* z, const float* t, int64_t vocabulary, float sharpness, float* g, float* q) {
  const float largest_z = largest_of(z, vocabulary), largest_t = largest_of(t, vocabulary);
  std::memcpy(g, z, static_cast<size_t>(vocabulary) * 4);
  std::memcpy(q, t, static_cast<size_t>(vocabulary) * 4);
  const double total_p = exponentials(g, vocabulary, largest_z, sharpness), total_q = exponentials(q, vocabulary, largest_t, sharpness);
  const float of_p = static_cast<float>(1 / total_p), of_q = static_cast<float>(1 / total_q);
  constexpr int64_t kBlock = 2048;
  double sum = 0;  // of q (t - z), both from their largest, not yet divided by total_q
  for (int64_t b = 0; b < vocabulary; b += kBlock) {
    Lanes some = {};
    over_lanes(vocabulary - b < kBlock ? vocabulary - b : kBlock, [&](int64_t i, auto lanes) NICHELM_INLINE_LAMBDA {
      const Lanes e = load(q + b + i, lanes);  // 0 past the row
      some += e * ((load(t + b + i, lanes) - largest_t) - (load(z + b + i, lanes) - largest_z));
      store(load(g + b + i, lanes) * of_p - e * of_q, g + b + i, lanes);
    });
    sum += double{sum_of(some)};
  }
  return sum * double{sharpness} / total_q + log_of(total_p) - log_of(total_q);
}

// The same where only some of q is known. ids are in the vocabulary.
double against_most_probable(const float* z, const int32_t* ids, const float* q, int64_t k, int64_t vocabulary, float sharpness, float* g) {
  const float largest = largest_of(z, vocabulary);
  std::memcpy(g, z, static_cast<size_t>(vocabulary) * 4);
  double known = 0, total = 0;  // of q, and of the exponentials from the largest logit
  for (int64_t j = 0; j < k; ++j) {
    g[ids[j]] = -__builtin_inff();
    known += double{q[j]};
    total += double{exp_fast((z[ids[j]] - largest) * sharpness)};
  }
  // The others' exponentials are taken from their own largest: their share may be so small that they would vanish beside the known ones.
  double missing = 0, others = 0, of_others = 0;
  float largest_other = largest;
  if (k < vocabulary) {
    missing = known > 1 ? 0 : 1 - known;
    largest_other = largest_of(g, vocabulary);
    others = exponentials(g, vocabulary, largest_other, sharpness);
    of_others = double{exp_fast((largest_other - largest) * sharpness)};
    total += others * of_others;
  }
  const double whole = k < vocabulary && !(known > 1) ? 1 : known, log_total = log_of(total);
  double divergence = missing == 0 ? 0 : missing * (log_of(missing) - (double{largest_other} - double{largest}) * double{sharpness} - log_of(others) + log_total);
  if (k < vocabulary) {
    const float factor = static_cast<float>(of_others / total - missing / others);
    over_lanes(vocabulary, [&](int64_t i, auto lanes) NICHELM_INLINE_LAMBDA { store(load(g + i, lanes) * factor, g + i, lanes); });
  }
  for (int64_t j = 0; j < k; ++j) {
    const double share = double{q[j]} / whole, from_largest = (double{z[ids[j]]} - double{largest}) * double{sharpness};
    if (share != 0) divergence += share * (log_of(share) - from_largest + log_total);
    g[ids[j]] = static_cast<float>(double{exp_fast(static_cast<float>(from_largest))} / total - share);
  }
  return divergence;
}

template <class T, class Op> void compute(cpu::NICHELM_ISA& device, const Op& op, const OutputLayer& layer) {
  const int64_t vocabulary = op.weight.rows(), k = op.ids.present() ? op.ids.width() : 0;
  const int32_t* targets = op.targets.template as<int32_t>();
  const float *weights = op.token_weights.template as<float>(), *teacher = op.teacher.template as<float>(), *probabilities = op.probabilities.template as<float>();
  const int32_t* ids = op.ids.template as<int32_t>();
  const double alpha = double{op.alpha}, temperature = double{op.temperature};
  const float sharpness = 1 / op.temperature;
  output_layer<T>(device, layer, [&, vocabulary](int64_t place, float* logits, T* dlogits, int thread) {
    constexpr TokenLoss kWrong{__builtin_nanf(""), __builtin_nanf("")};
    const int32_t target = targets[place];
    if (!in_vocabulary(target, vocabulary, dlogits)) return kWrong;
    for (int64_t j = 0; j < k; ++j)
      if (!in_vocabulary(ids[place * k + j], vocabulary, dlogits)) return kWrong;
    float* g = static_cast<float*>(device.scratch(thread, 2 * Parts::aligned(vocabulary * 4)));
    const double divergence = k ? against_most_probable(logits, ids + place * k, probabilities + place * k, k, vocabulary, sharpness, g)
                                : against_logits(logits, teacher + place * vocabulary, vocabulary, sharpness, g, g + Parts::aligned(vocabulary * 4) / 4);
    const float largest = largest_of(logits, vocabulary), chosen = logits[target];
    const double total = exponentials(logits, vocabulary, largest, 1), weight = double{weights[place]};
    const double nll = log_of(total) + (double{largest} - double{chosen});
    if (dlogits) {
      const double hard = (1 - alpha) * weight, soft = alpha * temperature * weight;
      const float of_hard = static_cast<float>(hard / total), of_soft = static_cast<float>(soft);
      const float of_target = static_cast<float>(hard * (logits[target] / total - 1) + soft * double{g[target]});
      over_lanes(vocabulary, [&](int64_t i, auto lanes) NICHELM_INLINE_LAMBDA { store(load(logits + i, lanes) * of_hard + load(g + i, lanes) * of_soft, dlogits + i, lanes); });
      narrow(of_target, dlogits[target]);
    }
    return TokenLoss{static_cast<float>(nll), static_cast<float>((1 - alpha) * nll + alpha * temperature * temperature * divergence)};
  });
}

template <class Op> void compute(cpu::NICHELM_ISA& device, const Op& op, const OutputLayer& layer) {
  op.x.type == Type::bf16 ? compute<Bf16>(device, op, layer) : compute<float>(device, op, layer);
}

}  // namespace

template <> void run(cpu::NICHELM_ISA& device, const LinearDistillation& op) { compute(device, op, {op.x, op.weight, op.targets, op.token_weights, op.nll, op.loss, {}, {}}); }
template <> void run(cpu::NICHELM_ISA& device, const LinearDistillationGradient& op) {
  compute(device, op, {op.x, op.weight, op.targets, op.token_weights, op.nll, op.loss, op.dx, op.dweight});
}

}  // namespace nichelm
