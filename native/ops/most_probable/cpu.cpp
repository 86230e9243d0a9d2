// CPU kernel: rows over threads. First the k largest of a row (select.h), then the exponentials, with those of the k taken out before the others are summed: what is left may be small beside them.
#include "ops/most_probable/most_probable.h"
#include "ops/most_probable/select.h"
#include "ops/softmax_row.h"
#include "runtime/cpu.h"

namespace nichelm {
namespace {

// e: room for a row.
void reduce(const float* z, int64_t vocabulary, float sharpness, int64_t k, int32_t* ids, float* probabilities, float* rest, float* lost, float* e) {
  largest_first(z, vocabulary, ids, k);
  const float largest = largest_of(z, vocabulary);
  std::memcpy(e, z, static_cast<size_t>(vocabulary) * 4);
  exponentials(e, vocabulary, largest, sharpness);
  double known = 0, others = 0, weighted = 0;
  for (int64_t j = 0; j < k; ++j) {
    probabilities[j] = e[ids[j]];
    known += double{e[ids[j]]};
    e[ids[j]] = 0;
  }
  constexpr int64_t kBlock = 2048;
  for (int64_t b = 0; b < vocabulary; b += kBlock) {
    Lanes sum = {}, product = {};
    over_lanes(vocabulary - b < kBlock ? vocabulary - b : kBlock, [&](int64_t i, auto lanes) NICHELM_INLINE_LAMBDA {
      const Lanes some = load(e + b + i, lanes);  // 0 past the row
      sum += some;
      product += some * (load(z + b + i, lanes) - largest);
    });
    others += double{sum_of(sum)};
    weighted += double{sum_of(product)};
  }
  const double total = known + others;
  for (int64_t j = 0; j < k; ++j) probabilities[j] = static_cast<float>(double{probabilities[j]} / total);
  *rest = static_cast<float>(others / total);
  const double divergence = others == 0 ? 0 : (weighted * double{sharpness} - others * (__builtin_log(others) - __builtin_log(static_cast<double>(vocabulary - k)))) / total;
  *lost = divergence < 0 ? 0 : static_cast<float>(divergence);  // by rounding only; NaN stays
}

}  // namespace

template <> void run(cpu::NICHELM_ISA& device, const MostProbable& op) {
  const int64_t tokens = op.logits.rows(), vocabulary = op.logits.width(), k = op.ids.width();
  const float sharpness = 1 / op.temperature;
  device.each(tokens, [&](int64_t n, int thread) {
    float* e = static_cast<float*>(device.scratch(thread, vocabulary * 4));
    reduce(op.logits.as<float>() + n * vocabulary, vocabulary, sharpness, k, op.ids.as<int32_t>() + n * k, op.probabilities.as<float>() + n * k, op.rest.as<float>() + n, op.lost.as<float>() + n, e);
  });
}

}  // namespace nichelm
