// CPU kernel: one pass over the parameters, in blocks over threads, vectorised by the compiler. It is bound by memory: 28 bytes a parameter.
#include "ops/adamw/adamw.h"
#include "ops/adamw/update.h"
#include "runtime/cpu.h"

namespace nichelm {
namespace {

constexpr int64_t kBlock = 4096;  // a block has one owner and one shape, so that no result depends on the split

NICHELM_INLINE void update(const AdamwFactors f, int64_t n, const float* __restrict gradient, float* __restrict p, float* __restrict m, float* __restrict v) {
  for (int64_t i = 0; i < n; ++i) p[i] = adamw_updated(f, gradient[i], p[i], m[i], v[i]);
}

NICHELM_INLINE void round_to(int64_t n, const float* __restrict p, Bf16* __restrict copy) {
  for (int64_t i = 0; i < n; ++i) narrow(p[i], copy[i]);
}

void adamw(Cpu& device, const Adamw& op) {
  const AdamwFactors factors = adamw_factors(op);
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
