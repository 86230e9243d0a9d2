#include "runtime/peak.h"

#include <algorithm>
#include <chrono>

namespace nichelm {
namespace {

void run_on_isa(Cpu& device, const PeakLoop& loop) {
#ifdef __x86_64__
  switch (device.isa()) {
    case Isa::avx2: return run(static_cast<cpu::avx2&>(device), loop);
    case Isa::avx512: return run(static_cast<cpu::avx512&>(device), loop);
    case Isa::avx512bf16: return run(static_cast<cpu::avx512bf16&>(device), loop);
    default: break;
  }
#endif
  run(static_cast<cpu::portable&>(device), loop);
}

}  // namespace

double measured_peak(Cpu& device, Type type) {
  using Clock = std::chrono::steady_clock;
  constexpr double kTry = 0.01;  // seconds
  double flops = 0, best = 0;
  int64_t rounds = 10000;
  for (int tries = 0; tries < 5;) {
    const auto start = Clock::now();
    run_on_isa(device, PeakLoop{type, rounds, &flops});
    const double seconds = std::max(1e-9, std::chrono::duration<double>(Clock::now() - start).count());
    if (seconds < kTry / 4) {  // too short to tell: the first call, which also wakes the threads
      rounds = static_cast<int64_t>(static_cast<double>(rounds) * std::min(64.0, kTry / seconds)) + 1;
      continue;
    }
    best = std::max(best, flops * device.threads() / seconds);
    ++tries;
  }
  return best;
}

}  // namespace nichelm
