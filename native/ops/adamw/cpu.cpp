// CPU kernel: one pass over the parameters, in blocks over threads, vectorised by the compiler. It is bound by memory: 28 bytes a parameter.
// Operations are in PyTorch's order, so that f32 rounds alike.
#include "ops/adamw/adamw.h"
#include "runtime/bf16.h"
#include "runtime/cpu.h"

namespace nichelm {
namespace {

constexpr int64_t kBlock = 4096;  // a block has one owner and one shape, so that no result depends on the split

struct Factors {
  float clip, one_minus_beta1, beta2, one_minus_beta2, decay, step, over_root_c2, epsilon;
};

NICHELM_INLINE float updated(const Factors& f, float gradient, float p, float& m, float& v) {
  const float g = f.clip * gradient;
  m += f.one_minus_beta1 * (g - m);
  v = f.beta2 * v + f.one_minus_beta2 * g * g;
  return p * f.decay - f.step * (m / (__builtin_sqrtf(v) * f.over_root_c2 + f.epsilon));
}

NICHELM_INLINE void update(const Factors f, int64_t n, const float* __restrict gradient, float* __restrict p, float* __restrict m, float* __restrict v) {
  for (int64_t i = 0; i < n; ++i) p[i] = updated(f, gradient[i], p[i], m[i], v[i]);
}

NICHELM_INLINE void round_to(int64_t n, const float* __restrict p, Bf16* __restrict copy) {
  for (int64_t i = 0; i < n; ++i) narrow(p[i], copy[i]);
}

void adamw(Cpu& device, const Adamw& op) {
  const float rate = op.schedule.as<float>()[0], c1 = op.schedule.as<float>()[1], c2 = op.schedule.as<float>()[2];
  const Factors factors{op.clip.as<float>()[0], 1 - op.beta1, op.beta2, 1 - op.beta2, 1 - rate * op.weight_decay, rate / c1, 1 / __builtin_sqrtf(c2), op.epsilon};
  const int64_t n = op.p.size();
  device.split((n + kBlock - 1) / kBlock, [&](int64_t first, int64_t last) {
    for (int64_t b = first; b < last; ++b) {
      const int64_t at = b * kBlock, count = at + kBlock < n ? kBlock : n - at;
      update(factors, count, op.gradient.as<float>() + at, op.p.as<float>() + at, op.m.as<float>() + at, op.v.as<float>() + at);
      if (op.copy.present()) round_to(count, op.p.as<float>() + at, op.copy.as<Bf16>() + at);  // from the first-level cache
    }
  });
}

}  // namespace

template <> void run(cpu::NICHELM_ISA& device, const Adamw& op) { adamw(device, op); }

}  // namespace nichelm
