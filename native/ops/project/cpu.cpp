// CPU kernels: the groups' coefficients are a small product, in double; then one pass over the basis, chunks of its elements over threads. In a chunk,
// a few matrices of the basis at a time are read along their length, while what every group has of the chunk stays in the nearest caches.
#include <type_traits>

#include "ops/project/chunks.h"
#include "ops/project/dots.h"
#include "ops/project/project.h"

namespace nichelm {
namespace {

constexpr int kTerms = 4, kTogether = kLanes == 16 ? 4 : 2;  // matrices of the basis and groups at a time: as many coefficients as there are registers for

void find_coefficients(const Project& op) {
  const int64_t experts = op.experts.shape[0], m = op.mix.shape[0], h = op.mix.shape[1];
  for (int64_t g = 0; g < op.ids.size(); ++g) {
    const int64_t id = op.ids.as<int32_t>()[g];
    const bool known = id >= 0 && id < experts;
    for (int64_t r = 0; r < h; ++r) {
      double sum = 0;
      for (int64_t q = 0; q < m && known; ++q) sum += double{op.experts.as<float>()[id * m + q]} * op.mix.as<float>()[q * h + r];
      op.coefficients.as<float>()[g * h + r] = known ? static_cast<float>(op.scale * sum) : __builtin_nanf("");
    }
  }
}

// Adds the terms of R matrices to the tiles of G groups, [G][stride]; the first terms begin them. basis: the first of the matrices, where the chunk begins;
// its values `ahead` are asked for. coefficients: [G][h], those of the first of the matrices; they stay in registers.
template <int R, int G> void add_terms(const float* basis, int64_t size, int64_t count, int64_t ahead, const float* coefficients, int64_t h, float* tile, int64_t stride, bool first) {
  Lanes factor[G][R];
  for (int g = 0; g < G; ++g)
    for (int t = 0; t < R; ++t) factor[g][t] = lanes_of(coefficients[g * h + t]);
  over_lanes(count, [&](int64_t i, auto lanes) NICHELM_INLINE_LAMBDA {
    Lanes term[R];
#pragma GCC unroll 4
    for (int t = 0; t < R; ++t) {
      term[t] = load(basis + t * size + i, lanes);
      if (ahead) __builtin_prefetch(basis + t * size + i + ahead, 0, 2);
    }
#pragma GCC unroll 4
    for (int g = 0; g < G; ++g) {
      float* place = tile + g * stride + i;
      Lanes sum = first ? Lanes{} : load(place, AllLanes{});
#pragma GCC unroll 4
      for (int t = 0; t < R; ++t) sum += factor[g][t] * term[t];
      store(sum, place, AllLanes{});
    }
  });
}

template <int R> void add_terms(const float* basis, int64_t size, int64_t count, int64_t ahead, const float* coefficients, int64_t h, int64_t groups, float* tile, int64_t stride, bool first) {
  int64_t g = 0;
  for (; g + kTogether <= groups; g += kTogether) add_terms<R, kTogether>(basis, size, count, g ? 0 : ahead, coefficients + g * h, h, tile + g * stride, stride, first);
  for (; g < groups; ++g) add_terms<R, 1>(basis, size, count, g ? 0 : ahead, coefficients + g * h, h, tile + g * stride, stride, first);
}

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
      for (int64_t g = 0; g < groups; ++g) {
        T* weights = op.weights.as<T>() + g * chunks.size + chunks.first(c);
        over_lanes(count, [&](int64_t i, auto lanes) NICHELM_INLINE_LAMBDA { store(load(tile + g * chunks.tile_row() + i, AllLanes{}), weights + i, lanes); });
      }
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
