// Matrix instructions of a warpgroup of four warps (wgmma, sm_90a): d (64 x N, f32) = or += a (64 x 16) b (16 x N), of bf16, running beside the threads. b, and
// a where it is not in registers, are read from shared memory, from boxes as tensor copies make them (tensor_map.h).
//
// With t a thread of the warpgroup, w = t / 32, l = t % 32: d[4 i + j] is row 16 w + l / 4 + 8 (j / 2), column 8 i + 2 (l % 4) + j % 2. In registers a is as in
// matrix.h: so d[8 k ..] of one product, rounded in pairs, is columns 16 k .. of the next one's a.
//
// The order: product_fence once ordinary code has touched d or a, which are named where it has, so that the compiler moves nothing of it behind; products; commit_products; wait_products, which says which sums may be touched again.
#pragma once
#include "cuda/matrix.h"
#include "cuda/tensor_map.h"

namespace nichelm {

// The operand of 16 columns k that begins at an address of shared memory, in a box of 64 elements a row; `advance` says how the next 16 are named.
//   along:  rows are m (or n), neighbours go along k. More rows than the box has 64 columns are just more rows.
//   across: rows are k, neighbours go along m (or n); the next 64 of those are in a box of their own, `leap` bytes on.
constexpr int kMatrixDepth = 16;
__device__ __forceinline__ uint64_t operand_along(const void* box) {
  return static_cast<uint64_t>((shared_word(box) & 0x3ffff) >> 4) | uint64_t{1} << 16 | static_cast<uint64_t>(1024 >> 4) << 32 | uint64_t{1} << 62;
}
__device__ __forceinline__ uint64_t operand_across(const void* box, int leap) {
  return static_cast<uint64_t>((shared_word(box) & 0x3ffff) >> 4) | static_cast<uint64_t>((leap & 0x3ffff) >> 4) << 16 | static_cast<uint64_t>(1024 >> 4) << 32 | uint64_t{1} << 62;
}
// step: of 16 columns k within a box.
template <bool kAcross> __device__ __forceinline__ uint64_t advance(uint64_t operand, int step) { return operand + static_cast<uint64_t>(step * (kAcross ? kMatrixDepth * kBoxRowBytes : kMatrixDepth * 2) >> 4); }

#ifdef __CUDACC__
#if NICHELM_HOPPER
__device__ __forceinline__ void commit_products() { asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory"); }
// Keeps the compiler from moving what touches the registers over this place.
template <class T, int kCount> __device__ __forceinline__ void hold_registers(T (&x)[kCount]) {
#pragma unroll
  for (int i = 0; i < kCount; ++i) {
    if constexpr (std::is_same_v<T, float>) asm volatile("" : "+f"(x[i])::"memory");
    else asm volatile("" : "+r"(x[i])::"memory");
  }
}
template <class T, int kRows, int kCount> __device__ __forceinline__ void hold_registers(T (&x)[kRows][kCount]) {
#pragma unroll
  for (int i = 0; i < kRows; ++i) hold_registers(x[i]);
}
template <class... Touched> __device__ __forceinline__ void product_fence(Touched&... touched) {
  (hold_registers(touched), ...);
  asm volatile("wgmma.fence.sync.aligned;" ::: "memory");
}
// Waits for all groups but the last kBut; then the sums named may be touched.
template <int kBut, class... Sums> __device__ __forceinline__ void wait_products(Sums&... sums) {
  asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(kBut) : "memory");
  (hold_registers(sums), ...);
}

#define NICHELM_R4(i) "+f"(d[i]), "+f"(d[i + 1]), "+f"(d[i + 2]), "+f"(d[i + 3])
#define NICHELM_R16(i) NICHELM_R4(i), NICHELM_R4(i + 4), NICHELM_R4(i + 8), NICHELM_R4(i + 12)
#define NICHELM_R32(i) NICHELM_R16(i), NICHELM_R16(i + 16)
#define NICHELM_R64(i) NICHELM_R32(i), NICHELM_R32(i + 32)
#define NICHELM_R128(i) NICHELM_R64(i), NICHELM_R64(i + 64)
#define NICHELM_LIST32 \
  "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, %16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31"
#define NICHELM_LIST64 \
  "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, %16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31, %32, %33, %34, %35, " \
  "%36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47, %48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63"
#define NICHELM_LIST128 \
  "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, %16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31, %32, %33, %34, %35, " \
  "%36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47, %48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63, %64, %65, %66, %67, %68, %69, " \
  "%70, %71, %72, %73, %74, %75, %76, %77, %78, %79, %80, %81, %82, %83, %84, %85, %86, %87, %88, %89, %90, %91, %92, %93, %94, %95, %96, %97, %98, %99, %100, %101, %102, " \
  "%103, %104, %105, %106, %107, %108, %109, %110, %111, %112, %113, %114, %115, %116, %117, %118, %119, %120, %121, %122, %123, %124, %125, %126, %127"

template <int kColumns> struct MatrixInstruction;
// Operands beside the sums: where they stand in the list depends on how many of those there are.
#define NICHELM_MATRIX_INSTRUCTION(columns, count, p0, p1, p2, p3, p4, p5, p6)                                                                                     \
  template <> struct MatrixInstruction<columns> {                                                                                                                  \
    template <int kTransposedA, int kTransposedB> static __device__ __forceinline__ void run(float (&d)[count], uint64_t a, uint64_t b, bool accumulate) {         \
      asm volatile("{\n .reg .pred p;\n setp.ne.b32 p, %" #p2 ", 0;\n wgmma.mma_async.sync.aligned.m64n" #columns "k16.f32.bf16.bf16 {" NICHELM_LIST##count "}, "  \
                   "%" #p0 ", %" #p1 ", p, 1, 1, %" #p3 ", %" #p4 ";\n}"                                                                                            \
                   : NICHELM_R##count(0) : "l"(a), "l"(b), "r"(static_cast<int>(accumulate)), "n"(kTransposedA), "n"(kTransposedB));                               \
    }                                                                                                                                                              \
    template <int kTransposedB> static __device__ __forceinline__ void run(float (&d)[count], const uint32_t (&a)[4], uint64_t b, bool accumulate) {               \
      asm volatile("{\n .reg .pred p;\n setp.ne.b32 p, %" #p5 ", 0;\n wgmma.mma_async.sync.aligned.m64n" #columns "k16.f32.bf16.bf16 {" NICHELM_LIST##count "}, "  \
                   "{%" #p0 ", %" #p1 ", %" #p2 ", %" #p3 "}, %" #p4 ", p, 1, 1, %" #p6 ";\n}"                                                                      \
                   : NICHELM_R##count(0) : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "r"(static_cast<int>(accumulate)), "n"(kTransposedB));              \
    }                                                                                                                                                              \
  };
NICHELM_MATRIX_INSTRUCTION(64, 32, 32, 33, 34, 35, 36, 37, 38)
NICHELM_MATRIX_INSTRUCTION(128, 64, 64, 65, 66, 67, 68, 69, 70)
NICHELM_MATRIX_INSTRUCTION(256, 128, 128, 129, 130, 131, 132, 133, 134)

// Starts d = or += a b. kAcross..: see the operands. N = twice the registers of d: 64, 128 or 256.
template <bool kAcrossA, bool kAcrossB, int kSums> __device__ __forceinline__ void start_product(float (&d)[kSums], uint64_t a, uint64_t b, bool accumulate) {
  MatrixInstruction<2 * kSums>::template run<kAcrossA, kAcrossB>(d, a, b, accumulate);
}
template <bool kAcrossB, int kSums> __device__ __forceinline__ void start_product(float (&d)[kSums], const uint32_t (&a)[4], uint64_t b, bool accumulate) {
  MatrixInstruction<2 * kSums>::template run<kAcrossB>(d, a, b, accumulate);
}
#endif
#else
template <class... Touched> void product_fence(Touched&...) { emulator::product_fence(); }
inline void commit_products() { emulator::commit_products(); }
template <class T, int kCount> void hold_registers(T (&)[kCount]) {}
template <int kBut, class... Sums> void wait_products(Sums&...) { emulator::wait_products(kBut, emulator::Place{"wait_products", kBut}); }
template <bool kAcrossA, bool kAcrossB, int kSums> void start_product(float (&d)[kSums], uint64_t a, uint64_t b, bool accumulate, NICHELM_PLACE) {
  emulator::start_product(d, {2 * kSums, a, b, nullptr, kAcrossA, kAcrossB, accumulate}, place);
}
template <bool kAcrossB, int kSums> void start_product(float (&d)[kSums], const uint32_t (&a)[4], uint64_t b, bool accumulate, NICHELM_PLACE) {
  emulator::start_product(d, {2 * kSums, 0, b, a, false, kAcrossB, accumulate}, place);
}
#endif

}  // namespace nichelm
