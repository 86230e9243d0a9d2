#include "runtime/peak.h"

#include <algorithm>
#include <vector>

namespace nichelm {
namespace {

void run_on_isa(Cpu& device, const PeakLoop& loop) {
#ifdef __x86_64__
  switch (device.isa()) {
#ifdef NICHELM_HAS_avx2
    case Isa::avx2: return run(static_cast<cpu::avx2&>(device), loop);
#endif
#ifdef NICHELM_HAS_avx512
    case Isa::avx512: return run(static_cast<cpu::avx512&>(device), loop);
#endif
#ifdef NICHELM_HAS_avx512bf16
    case Isa::avx512bf16: return run(static_cast<cpu::avx512bf16&>(device), loop);
#endif
    default: break;
  }
#endif
  run(static_cast<cpu::portable&>(device), loop);
}

}  // namespace

double measured_peak(Cpu& device, Type type) {
  constexpr double kTry = 0.01;  // seconds
  const size_t threads = static_cast<size_t>(std::min(device.threads(), available_threads()));
  std::vector<double> seconds(static_cast<size_t>(device.threads()));
  double flops = 0;
  PeakLoop loop{type, 10000, &flops, seconds.data()};
  double best = 0;
  for (int tries = 0; tries < 5;) {
    run_on_isa(device, loop);
    const double longest = std::max(1e-9, *std::max_element(seconds.begin(), seconds.end()));
    if (longest < kTry / 4) {  // too short to tell: the first call, which also wakes the threads
      loop.rounds = static_cast<int64_t>(static_cast<double>(loop.rounds) * std::min(64.0, kTry / longest)) + 1;
      continue;
    }
    double rate = 0;
    for (size_t t = 0; t < threads; ++t) rate += flops / seconds[t];
    best = std::max(best, rate);
    ++tries;
  }
  return best;
}

}  // namespace nichelm
