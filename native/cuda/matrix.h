// The matrix instructions of a warp (ldmatrix, mma.sync, sm_80 on). With t the lane, group = t / 4, pair = 2 (t % 4), a register of two bf16 holds:
//   a[0] row group, columns pair and pair + 1;  a[1] row group + 8;  a[2] row group, columns + 8;  a[3] both
//   b[0] rows pair and pair + 1, column group;  b[1] rows + 8
// and the f32 d: d[0], d[1] row group, columns pair and pair + 1;  d[2], d[3] row group + 8.
#pragma once
#include "cuda/kernel.h"
#ifndef __CUDACC__
#include "emulator/matrix.h"
#endif

namespace nichelm {

#ifdef __CUDACC__
// Four matrices of 8 x 8 halves from shared memory: lanes 8 m .. 8 m + 7 give the rows of matrix m, 16 bytes each, aligned. r[m] holds two neighbours
// of row t / 4 (or, transposed, of column t / 4).
__device__ __forceinline__ void load_matrices(uint32_t (&r)[4], const void* row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3]) : "r"(static_cast<uint32_t>(__cvta_generic_to_shared(row))) : "memory");
}
__device__ __forceinline__ void load_matrices_transposed(uint32_t (&r)[4], const void* row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3]) : "r"(static_cast<uint32_t>(__cvta_generic_to_shared(row))) : "memory");
}
// d (16 x 8) += a (16 x 16) b (16 x 8)
__device__ __forceinline__ void multiply_matrices(float (&d)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1) {
  asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
               : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3]) : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}
__device__ __forceinline__ uint32_t pack_bf16(float low, float high) {
  uint32_t both;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(both) : "f"(high), "f"(low));
  return both;
}
// 2^x, 2 ulp; denormal results are 0.
__device__ __forceinline__ float exp2_fast(float x) {
  float y;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}
#else
inline void load_matrices(uint32_t (&r)[4], const void* row, NICHELM_PLACE) { emulator::load_matrices(r, row, false, place); }
inline void load_matrices_transposed(uint32_t (&r)[4], const void* row, NICHELM_PLACE) { emulator::load_matrices(r, row, true, place); }
inline void multiply_matrices(float (&d)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1, NICHELM_PLACE) {
  const uint32_t b[2] = {b0, b1};
  emulator::multiply_matrices(d, a, b, place);
}
inline uint32_t pack_bf16(float low, float high) {
  Bf16 l, h;
  narrow(low, l), narrow(high, h);
  return l.bits | static_cast<uint32_t>(h.bits) << 16;
}
inline float exp2_fast(float x) { return exp2f(x); }
#endif

}  // namespace nichelm
