// CPU kernel: sums of squares of fixed chunks, in double (squares of f32 neither overflow nor vanish there), then the chunks in order.
#include "ops/global_norm/global_norm.h"
#include "runtime/cpu.h"
#include "runtime/lanes.h"

namespace nichelm {
namespace {

constexpr int64_t kChunk = 16384;
constexpr int kWidth = kLanes / 2, kSums = 4;  // four registers of doubles, to hide the latency of an addition
typedef float Floats __attribute__((vector_size(4 * kWidth)));
typedef double Doubles __attribute__((vector_size(8 * kWidth)));

double sum_of_squares(const float* x, int64_t n) {
  Doubles sums[kSums] = {};
  int64_t i = 0;
  for (; i + kSums * kWidth <= n; i += kSums * kWidth)
    for (int s = 0; s < kSums; ++s) {
      Floats some;
      std::memcpy(&some, x + i + s * kWidth, sizeof some);
      const Doubles wide = __builtin_convertvector(some, Doubles);
      sums[s] += wide * wide;
    }
  const Doubles all = (sums[0] + sums[1]) + (sums[2] + sums[3]);
  double sum = 0;
  for (int l = 0; l < kWidth; ++l) sum += all[l];
  for (; i < n; ++i) sum += double{x[i]} * x[i];
  return sum;
}

void global_norm(Cpu& device, const GlobalNorm& op) {
  const int64_t n = op.gradient.size(), chunks = (n + kChunk - 1) / kChunk;
  const float* gradient = op.gradient.as<float>();
  double* sums = static_cast<double*>(device.shared_scratch((chunks + 1) * 8));
  device.split(chunks, [&](int64_t first, int64_t last) {
    for (int64_t c = first; c < last; ++c) sums[c] = sum_of_squares(gradient + c * kChunk, c + 1 < chunks ? kChunk : n - c * kChunk);
  });
  double sum = op.squares.present() ? op.squares.as<float>()[0] : 0;
  for (int64_t c = 0; c < chunks; ++c) sum += sums[c];
  const float norm = static_cast<float>(__builtin_sqrt(sum));
  const bool finite = norm - norm == 0;
  const double scale = op.limit / (double{norm} + 1e-6);
  op.norm.as<float>()[0] = norm;
  op.clip.as<float>()[0] = !finite ? __builtin_nanf("") : op.limit > 0 && scale < 1 ? static_cast<float>(scale) : 1;
}

}  // namespace

template <> void run(cpu::NICHELM_ISA& device, const GlobalNorm& op) { global_norm(device, op); }

}  // namespace nichelm
