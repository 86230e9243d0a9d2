// bf16 as its 16 bits: the upper half of an f32, rounded to nearest even.
// Everything here is static and forced inline: kernel files are compiled for several instruction sets, and no copy of these
// may be shared between them by the linker.
#pragma once
#include <cstdint>
#include <cstring>

#ifdef __CUDACC__
#define NICHELM_INLINE static __host__ __device__ __forceinline__
#else
#define NICHELM_INLINE static inline __attribute__((always_inline))
#endif

namespace nichelm {

struct Bf16 { uint16_t bits; };

NICHELM_INLINE float widen(float x) { return x; }
NICHELM_INLINE float widen(Bf16 x) {
  const uint32_t bits = uint32_t{x.bits} << 16;
  float y;
  std::memcpy(&y, &bits, 4);
  return y;
}
NICHELM_INLINE void narrow(float x, float& y) { y = x; }
NICHELM_INLINE void narrow(float x, Bf16& y) {
#ifdef __CUDA_ARCH__
  asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(y.bits) : "f"(x));  // the same bits
#else
  uint32_t bits;
  std::memcpy(&bits, &x, 4);
  const uint32_t rounded = (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
  const bool nan = (bits & 0x7fffffff) > 0x7f800000;  // rounding could carry a NaN into infinity
  y.bits = static_cast<uint16_t>(nan ? 0x7fff : rounded);
#endif
}

}  // namespace nichelm
