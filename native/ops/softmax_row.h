// Parts of a softmax over one row, in one order of summation. Everything here is local to the kernel file that includes it.
#pragma once
#include "runtime/math.h"
#include "runtime/several.h"

namespace nichelm {
namespace {

// NaN loses every comparison here; it shows in the sum of exponentials.
NICHELM_INLINE float largest_of(const float* x, int64_t n) {
  Lanes largest[kSeveral];  // several, or each comparison would wait for the one before
  for (Lanes& some : largest) some = lanes_of(x[0]);
  int64_t i = 0;
  for (; i + kSeveral * kLanes <= n; i += kSeveral * kLanes)
    for (int j = 0; j < kSeveral; ++j) largest[j] = larger(load(x + i + j * kLanes, AllLanes{}), largest[j]);
  for (; i + kLanes <= n; i += kLanes) largest[0] = larger(load(x + i, AllLanes{}), largest[0]);
  for (int j = 1; j < kSeveral; ++j) largest[0] = larger(largest[j], largest[0]);
  float row[kLanes];
  store(largest[0], row, AllLanes{});
  for (int half = kLanes / 2; half > 0; half /= 2)
    for (int l = 0; l < half; ++l) row[l] = row[l + half] > row[l] ? row[l + half] : row[l];
  float most = row[0];
  for (; i < n; ++i) most = x[i] > most ? x[i] : most;
  return most;
}

// e becomes exp((x - largest) sharpness), where largest is at least every x; gives the sum. e may be x, or null if only the sum is wanted. The sums of kBlock
// elements are added in double. fetch(i, count) is called on the way, for `count` registers from element i on: it may ask for what will be needed next.
// For: bf16 if that is what the exponentials are rounded to in the end; one operation makes a power of 2 of x then.
template <class For, class Fetch> NICHELM_INLINE double exponentials(const float* x, float* e, int64_t n, float largest, float sharpness, const Fetch& fetch) {
  constexpr int64_t kBlock = 2048;
  const float power = sharpness * 1.44269504088896341f, top = largest * power;
  double total = 0;
  for (int64_t b = 0; b < n; b += kBlock) {
    const int64_t last = n - b < kBlock ? n : b + kBlock;
    Several<kSeveral> sum = {};
    over_several(b, last, [&](int64_t i, auto lanes, auto count) NICHELM_INLINE_LAMBDA {
      fetch(i, count);
      Several<count()> y = load_several<count()>(x + i, lanes);
      if constexpr (sizeof(For) == 2) y = exp2_nonpositive(y * power - top);
      else y = exp_nonpositive((y - largest) * sharpness);
      if (e) store_several(y, e + i, lanes);
      add_to(sum, inside(y, lanes));
    });
    total += double{sum_of(sum)};
  }
  return total;
}
NICHELM_INLINE double exponentials(float* x, int64_t n, float largest, float sharpness) {
  return exponentials<float>(x, x, n, largest, sharpness, [](int64_t, auto) {});
}

}  // namespace
}  // namespace nichelm
