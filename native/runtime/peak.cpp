#include "runtime/peak.h"

#include <algorithm>
#include <vector>

#include "runtime/on_isa.h"

namespace nichelm {

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
