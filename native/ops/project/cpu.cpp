// CPU kernels: the groups' coefficients are a small product, in double; then one pass over the basis, chunks of its elements over threads. In a chunk,
// a few matrices of the basis at a time are read along their length, while what every group has of the chunk stays in the nearest caches.
#include "ops/project/chunks.h"
#include "ops/project/dots.h"
#include "ops/project/project.h"
#include "ops/project/terms.h"

namespace nichelm {
namespace {

template <class T> void project(Cpu& device, const Project& op) {
  find_coefficients(op);
  const int64_t groups = op.ids.size(), h = op.basis.shape[0];
  const Chunks chunks = matrix_chunks(op.basis, groups);
  const float* coefficients = op.coefficients.as<float>();
  device.each(chunks.runs(), [&](int64_t run, int thread) {
    float* tile = static_cast<float*>(device.scratch(thread, groups * chunks.tile_row() * 4));
    for (int64_t c = chunks.run_first(run); c < chunks.run_first(run + 1); ++c) {
      const float* basis = op.basis.as<float>() + chunks.first(c);
      const int64_t count = chunks.length(c);
      int64_t r = 0;
      const auto add = [&](auto terms) {
        add_terms<terms>(basis + r * chunks.size, chunks.size, count, chunks.ahead(r, terms, h), coefficients + r, h, groups, tile, chunks.tile_row(), r == 0);
        r += terms;
      };
      while (r + kTerms <= h) add(std::integral_constant<int, kTerms>{});
      while (r < h) add(std::integral_constant<int, 1>{});
      put_tile(tile, chunks.tile_row(), groups, count, op.weights.as<T>() + chunks.first(c), chunks.size);
    }
  });
}

// dexperts and dmix from dc, [groups][h]: small.
void add_gradients(const ProjectGradient& op, const double* dc) {
  const int64_t experts = op.experts.shape[0], m = op.mix.shape[0], h = op.mix.shape[1], groups = op.ids.size();
  for (int64_t g = 0; g < groups; ++g) {
    const int64_t id = op.ids.as<int32_t>()[g];
    if (id < 0 || id >= experts) continue;
    for (int64_t q = 0; q < m; ++q) {
      double sum = 0;
      for (int64_t r = 0; r < h; ++r) sum += dc[g * h + r] * op.mix.as<float>()[q * h + r];
      op.dexperts.as<float>()[id * m + q] += static_cast<float>(op.scale * sum);
    }
  }
  for (int64_t q = 0; q < m; ++q)
    for (int64_t r = 0; r < h; ++r) {
      double sum = 0;
      for (int64_t g = 0; g < groups; ++g) {
        const int64_t id = op.ids.as<int32_t>()[g];
        sum += dc[g * h + r] * (id >= 0 && id < experts ? double{op.experts.as<float>()[id * m + q]} : __builtin_nan(""));
      }
      op.dmix.as<float>()[q * h + r] += static_cast<float>(op.scale * sum);
    }
}

void project_gradient(Cpu& device, const ProjectGradient& op) {
  const int64_t groups = op.ids.size(), h = op.basis.shape[0], runs_at = groups * h;
  const Chunks chunks = matrix_chunks(op.basis, groups);
  double* dc = static_cast<double*>(device.shared_scratch((chunks.runs() + 1) * runs_at * 8));
  double* sums = dc + runs_at;  // [runs][groups][h]
  std::memset(dc, 0, static_cast<size_t>((chunks.runs() + 1) * runs_at * 8));
  device.each(chunks.runs(), [&](int64_t run, int thread) {
    float* tile = static_cast<float*>(device.scratch(thread, groups * chunks.tile_row() * 4));
    for (int64_t c = chunks.run_first(run); c < chunks.run_first(run + 1); ++c) {
      gather(op.dweights, chunks, c, tile);
      // A few matrices of the basis at a time, with all groups: they come from memory once.
      for (int64_t r = 0; r < h; r += kDotsB)
        add_dots({tile, chunks.tile_row()}, groups, {op.basis.as<float>() + r * chunks.size + chunks.first(c), chunks.size, chunks.ahead(r, kDotsB, h)}, r + kDotsB < h ? kDotsB : h - r, chunks.length(c),
                 sums + run * runs_at + r, h);
    }
  });
  for (int64_t run = 0; run < chunks.runs(); ++run)
    for (int64_t i = 0; i < runs_at; ++i) dc[i] += sums[run * runs_at + i];
  add_gradients(op, dc);
}

}  // namespace

template <> void run(cpu::NICHELM_ISA& device, const Project& op) { op.weights.type == Type::bf16 ? project<Bf16>(device, op) : project<float>(device, op); }
template <> void run(cpu::NICHELM_ISA& device, const ProjectGradient& op) { project_gradient(device, op); }

}  // namespace nichelm
