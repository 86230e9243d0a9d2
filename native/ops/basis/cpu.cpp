// CPU kernels: chunks of (inputs, outputs) over threads. A chunk of every group's dweights is gathered once into the nearest caches; basis and moments
// are read and written once, along their length, so that the optimizer is bound by memory: 24 bytes an element of the basis.
#include "ops/basis/basis.h"
#include "ops/basis/update.h"
#include "ops/project/chunks.h"
#include "ops/project/dots.h"

namespace nichelm {
namespace {

void basis_norm(Cpu& device, const BasisNorm& op) {
  const int64_t groups = op.coefficients.shape[0], h = op.coefficients.shape[1], pairs = groups * groups;
  const Chunks chunks = matrix_chunks(op.dweights, groups);
  double* sums = static_cast<double*>(device.shared_scratch((chunks.runs() + 1) * pairs * 8));  // [runs][groups][groups]: g' >= g, and some below
  std::memset(sums, 0, static_cast<size_t>(chunks.runs() * pairs * 8));
  device.each(chunks.runs(), [&](int64_t run, int thread) {
    float* tile = static_cast<float*>(device.scratch(thread, groups * chunks.tile_row() * 4));
    for (int64_t c = chunks.run_first(run); c < chunks.run_first(run + 1); ++c) {
      gather(op.dweights, chunks, c, tile);
      for (int64_t g = 0; g < groups; g += kDotsA) {
        const Rows rows{tile + g * chunks.tile_row(), chunks.tile_row()};
        add_dots(rows, g + kDotsA < groups ? kDotsA : groups - g, rows, groups - g, chunks.length(c), sums + run * pairs + g * groups + g, groups);
      }
    }
  });
  const float* coefficients = op.coefficients.as<float>();
  double squares = 0;
  for (int64_t g = 0; g < groups; ++g)
    for (int64_t other = g; other < groups; ++other) {
      double product = 0, inner = 0;
      for (int64_t r = 0; r < h; ++r) product += double{coefficients[g * h + r]} * coefficients[other * h + r];
      for (int64_t run = 0; run < chunks.runs(); ++run) inner += sums[run * pairs + g * groups + other];
      squares += (other == g ? 1 : 2) * product * inner;
    }
  op.squares.as<float>()[0] += static_cast<float>(squares < 0 ? 0 : squares);  // rounding can leave a little less than nothing where terms cancel
}

void basis_adamw(Cpu& device, const BasisAdamw& op) {
  const int64_t groups = op.coefficients.shape[0], h = op.coefficients.shape[1];
  const Chunks chunks = matrix_chunks(op.dweights, groups);
  const AdamwFactors factors = adamw_factors(op);
  device.each(chunks.runs(), [&](int64_t run, int thread) {
    float* tile = static_cast<float*>(device.scratch(thread, groups * chunks.tile_row() * 4));
    for (int64_t c = chunks.run_first(run); c < chunks.run_first(run + 1); ++c) {
      gather(op.dweights, chunks, c, tile);
      for (int64_t r = 0; r < h; ++r) {
        const int64_t at = r * chunks.size + chunks.first(c);
        update(factors, chunks.length(c), tile, chunks.tile_row(), groups, op.coefficients.as<float>() + r, h, op.basis.as<float>() + at, op.m.as<float>() + at, op.v.as<float>() + at, chunks.ahead(r, 1, h));
      }
    }
  });
}

}  // namespace

template <> void run(cpu::NICHELM_ISA& device, const BasisNorm& op) { basis_norm(device, op); }
template <> void run(cpu::NICHELM_ISA& device, const BasisAdamw& op) { basis_adamw(device, op); }

}  // namespace nichelm
