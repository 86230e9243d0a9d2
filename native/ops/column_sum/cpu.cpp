// CPU kernel: blocks of rows over threads, each summed apart; then the blocks' sums in their order. The blocks depend on the shape alone.
#include "ops/column_sum/column_sum.h"
#include "runtime/bf16.h"
#include "runtime/cpu.h"
#include "runtime/several.h"

namespace nichelm {
namespace {

constexpr int64_t kBlockRows = 128;
constexpr int64_t kAhead = 16384;  // bytes, at least, that are asked for before they are needed: whole groups of four rows

// partial[i] = sum of `rows` rows of x[., i]; four rows at a time, so that partial is read and written a quarter as often.
template <class T> void sum_rows(const T* x, int64_t rows, int64_t width, float* __restrict partial) {
  for (int64_t i = 0; i < width; ++i) partial[i] = 0;
  const int64_t group = 4 * width, ahead = (kAhead / static_cast<int64_t>(sizeof(T)) + group - 1) / group * group;
  int64_t r = 0;
  for (; r + 4 <= rows; r += 4, x += group)
    over_several<kOfLine<T>>(0, width, [&](int64_t i, auto lanes, auto n) NICHELM_INLINE_LAMBDA {
      Several<n()> row[4];
#pragma GCC unroll 4
      for (int j = 0; j < 4; ++j) {
        const T* from = x + i + j * width;
        fetch_several<n(), 2>(from + ahead);
        row[j] = load_several<n()>(from, lanes);
      }
      store_several(load_several<n()>(partial + i, lanes) + ((row[0] + row[1]) + (row[2] + row[3])), partial + i, lanes);
    });
  for (; r < rows; ++r, x += width)
    over_several<kOfLine<T>>(0, width, [&](int64_t i, auto lanes, auto n) NICHELM_INLINE_LAMBDA { store_several(load_several<n()>(partial + i, lanes) + load_several<n()>(x + i, lanes), partial + i, lanes); });
}

template <class T> void column_sum(Cpu& device, const ColumnSum& op) {
  const int64_t rows = op.x.rows(), width = op.x.width(), blocks = (rows + kBlockRows - 1) / kBlockRows;
  const T* x = op.x.as<T>();
  float* sum = op.sum.as<float>();
  float* partial = static_cast<float*>(device.shared_scratch(blocks * width * int64_t{sizeof(float)}, 0));
  device.split(blocks, [=](int64_t first, int64_t last) {
    for (int64_t b = first; b < last; ++b) sum_rows(x + b * kBlockRows * width, rows - b * kBlockRows < kBlockRows ? rows - b * kBlockRows : kBlockRows, width, partial + b * width);
  });
  for (int64_t b = 1; b < blocks; ++b)
    for (int64_t i = 0; i < width; ++i) partial[i] += partial[b * width + i];
  for (int64_t i = 0; i < width && blocks > 0; ++i) sum[i] += partial[i];
}

}  // namespace

template <> void run(cpu::NICHELM_ISA& device, const ColumnSum& op) { op.x.type == Type::bf16 ? column_sum<Bf16>(device, op) : column_sum<float>(device, op); }

}  // namespace nichelm
