// The loop behind measured_peak: as many independent chains of multiply-adds as hide their latency, in registers only.
#include <ctime>

#include "runtime/peak.h"
#ifdef NICHELM_ISA_avx512bf16
#include <immintrin.h>
#endif

#include "runtime/bf16.h"

namespace nichelm {
namespace {

#if defined(NICHELM_ISA_avx512) || defined(NICHELM_ISA_avx512bf16)
constexpr int kLanes = 16;
#elif defined(NICHELM_ISA_avx2)
constexpr int kLanes = 8;
#else
constexpr int kLanes = 4;
#endif
constexpr int kChains = 12;  // two units with a latency of at most 6, in 16 registers
typedef float Floats __attribute__((vector_size(kLanes * 4)));

// The factors and first sums are read from memory that the compiler cannot see through, and the sums are used, so that nothing is left out.
volatile float factor = 0.5f;

NICHELM_INLINE void begin(Floats (&sums)[kChains]) {
  for (Floats& sum : sums) sum = Floats{} + factor;
}

NICHELM_INLINE void keep(const Floats (&sums)[kChains]) {
  Floats total = {};
  for (const Floats& sum : sums) total += sum;
  asm volatile("" : : "m"(total));
}

void multiply_add_f32(int64_t rounds) {
  const Floats x = Floats{} + factor, y = x + 1.0f;
  Floats sums[kChains];
  begin(sums);
  for (int64_t r = 0; r < rounds; ++r)
#pragma GCC unroll 12
    for (int i = 0; i < kChains; ++i) sums[i] = sums[i] * x + y;
  keep(sums);
}

#ifdef NICHELM_ISA_avx512bf16
void dot_bf16(int64_t rounds) {
  const __m512i x = _mm512_set1_epi16(static_cast<short>(factor < 1 ? 0x3f00 : 0x3f80));
  Floats sums[kChains];
  begin(sums);
  for (int64_t r = 0; r < rounds; ++r)
#pragma GCC unroll 12
    for (int i = 0; i < kChains; ++i) sums[i] = (Floats)_mm512_dpbf16_ps((__m512)sums[i], (__m512bh)x, (__m512bh)x);
  keep(sums);
}
#endif

double processor_seconds() {
  timespec time;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
  return static_cast<double>(time.tv_sec) + 1e-9 * static_cast<double>(time.tv_nsec);
}

}  // namespace

template <> void run(cpu::NICHELM_ISA& device, const PeakLoop& loop) {
  double values = 1;  // products that one lane adds at once
#ifdef NICHELM_ISA_avx512bf16
  if (loop.type == Type::bf16) values = 2;
#endif
  *loop.flops = static_cast<double>(loop.rounds) * kChains * kLanes * 2 * values;
  device.split(device.threads(), [&](int64_t thread, int64_t) {
    const double start = processor_seconds();
#ifdef NICHELM_ISA_avx512bf16
    if (loop.type == Type::bf16) dot_bf16(loop.rounds);
    else multiply_add_f32(loop.rounds);
#else
    multiply_add_f32(loop.rounds);
#endif
    loop.seconds[thread] = processor_seconds() - start;
  });
}

}  // namespace nichelm
