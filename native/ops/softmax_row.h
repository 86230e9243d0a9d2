// Parts of a softmax over one row, in one order of summation. Everything here is local to the kernel file that includes it.
#pragma once
#include "runtime/math.h"
#include "runtime/several.h"

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

// x becomes exp((x - largest) sharpness), where largest is at least every x; gives the sum. The sums of kBlock elements are added in double.
// next: what lies that many elements behind is asked for on the way; 0: nothing.
NICHELM_INLINE double exponentials(float* x, int64_t n, float largest, float sharpness, int64_t next = 0) {
  constexpr int64_t kBlock = 2048;
  double total = 0;
  for (int64_t b = 0; b < n; b += kBlock) {
    const int64_t last = n - b < kBlock ? n : b + kBlock;
    Several<kSeveral> sum = {};
    over_several(b, last, [&](int64_t i, auto lanes, auto count) NICHELM_INLINE_LAMBDA {
      if (next) fetch_several<count(), 2>(x + next + i);
      const auto e = exp_nonpositive((load_several<count()>(x + i, lanes) - largest) * sharpness);
      store_several(e, x + i, lanes);
      add_to(sum, inside(e, lanes));
    });
    total += double{sum_of(sum)};
  }
  return total;
}

}  // namespace
}  // namespace nichelm
