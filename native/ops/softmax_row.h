// Parts of a softmax over one row, in one order of summation. Everything here is local to the kernel file that includes it.
#pragma once
#include "runtime/lanes.h"
#include "runtime/math.h"

namespace nichelm {
namespace {

// NaN loses every comparison here; it shows in the sum of exponentials.
NICHELM_INLINE float largest_of(const float* x, int64_t n) {
  Lanes largest = lanes_of(x[0]);
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) {
    const Lanes some = load(x + i, AllLanes{});
    largest = some > largest ? some : largest;
  }
  float most = x[0];
  for (int l = 0; l < kLanes; ++l) most = largest[l] > most ? largest[l] : most;
  for (; i < n; ++i) most = x[i] > most ? x[i] : most;
  return most;
}

// x becomes exp((x - largest) sharpness); gives the sum. In blocks, so that the second loop finds its input in the first-level cache.
NICHELM_INLINE double exponentials(float* x, int64_t n, float largest, float sharpness) {
  constexpr int64_t kBlock = 2048;
  double total = 0;
  for (int64_t b = 0; b < n; b += kBlock) {
    float* block = x + b;
    const int64_t count = n - b < kBlock ? n - b : kBlock;
    for (int64_t i = 0; i < count; ++i) block[i] = exp_fast((block[i] - largest) * sharpness);
    Lanes sum = {};
    over_lanes(count, [&](int64_t i, auto lanes) NICHELM_INLINE_LAMBDA { sum += load(block + i, lanes); });
    total += double{sum_of(sum)};
  }
  return total;
}

}  // namespace
}  // namespace nichelm
