// Sums over rows, such as the gradient of a gain, in one order whatever the number of threads: rows are cut into chunks by their
// number alone, each chunk has its own sums, and these are added in the order of the chunks.
#pragma once
#include "runtime/cpu.h"
#include "runtime/lanes.h"

namespace nichelm {
namespace {

struct RowChunks {
  int64_t rows, chunk, count;
  int64_t first(int64_t c) const { return c * chunk; }
  int64_t last(int64_t c) const { return c + 1 < count ? (c + 1) * chunk : rows; }
};

// At most 128 chunks: their sums are small beside the rows themselves.
NICHELM_INLINE RowChunks row_chunks(int64_t rows) {
  const int64_t even = (rows + 127) / 128, chunk = even < 32 ? 32 : even;
  return {rows, chunk, (rows + chunk - 1) / chunk};
}

// target[i] += sum over c of sums[c * stride + i]
NICHELM_INLINE void add_chunks(Cpu& device, const float* sums, int64_t count, int64_t stride, int64_t width, float* target) {
  constexpr int64_t kBlock = 64;  // columns, a multiple of every register's width: a column is summed alike by any thread
  device.split((width + kBlock - 1) / kBlock, [&](int64_t first, int64_t last) {
    const int64_t begin = first * kBlock, end = last * kBlock < width ? last * kBlock : width;
    over_lanes(end - begin, [&](int64_t i, auto lanes) NICHELM_INLINE_LAMBDA {
      Lanes sum = {};
      for (int64_t c = 0; c < count; ++c) sum += load(sums + c * stride + begin + i, lanes);
      store(load(target + begin + i, lanes) + sum, target + begin + i, lanes);
    });
  });
}

}  // namespace
}  // namespace nichelm
