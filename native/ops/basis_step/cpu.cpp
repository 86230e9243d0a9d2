// CPU kernel: chunks of (inputs, outputs) over threads, as in basis and project. A few matrices of the basis at a time are updated in a chunk, and while it is in
// the nearest caches what the next step's groups need of them is added to a second tile: basis and moments go through memory once.
#include "ops/basis/update.h"
#include "ops/basis_step/basis_step.h"
#include "ops/project/chunks.h"
#include "ops/project/terms.h"

namespace nichelm {
namespace {

template <class T> void basis_step(Cpu& device, const BasisStep& op) {
  const int64_t groups = op.ids.size(), h = op.basis.shape[0];
  float* now = static_cast<float*>(device.shared_scratch(groups * h * 4));
  std::memcpy(now, op.coefficients.as<float>(), static_cast<size_t>(groups * h * 4));
  find_coefficients(op);
  const float* next = op.coefficients.as<float>();
  const Chunks chunks = matrix_chunks(op.basis, 2 * groups);
  const int64_t stride = chunks.tile_row();
  const AdamwFactors factors = adamw_factors(op);
  device.each(chunks.runs(), [&](int64_t run, int thread) {
    float *slopes = static_cast<float*>(device.scratch(thread, 2 * groups * stride * 4)), *weights = slopes + groups * stride;
    for (int64_t c = chunks.run_first(run); c < chunks.run_first(run + 1); ++c) {
      gather(op.dweights, chunks, c, slopes);
      const int64_t count = chunks.length(c);
      int64_t r = 0;
      const auto step = [&](auto terms) {
        for (int64_t t = r; t < r + terms; ++t) {
          const int64_t at = t * chunks.size + chunks.first(c);
          update(factors, count, slopes, stride, groups, now + t, h, op.basis.as<float>() + at, op.m.as<float>() + at, op.v.as<float>() + at, chunks.ahead(t, 1, h));
        }
        add_terms<terms>(op.basis.as<float>() + r * chunks.size + chunks.first(c), chunks.size, count, 0, next + r, h, groups, weights, stride, r == 0);
        r += terms;
      };
      while (r + kTerms <= h) step(std::integral_constant<int, kTerms>{});
      while (r < h) step(std::integral_constant<int, 1>{});
      put_tile(weights, stride, groups, count, op.weights.as<T>() + chunks.first(c), chunks.size);
    }
  });
}

}  // namespace

template <> void run(cpu::NICHELM_ISA& device, const BasisStep& op) { op.weights.type == Type::bf16 ? basis_step<Bf16>(device, op) : basis_step<float>(device, op); }

}  // namespace nichelm
