// Copies from device memory to shared memory that run beside the computation (cp.async, sm_80 on).
#pragma once
#include "cuda/kernel.h"

namespace nichelm {

#ifdef __CUDACC__
// 16 bytes, both addresses aligned to them; zeros where not valid, and then from is not read.
__device__ __forceinline__ void copy_async(void* shared, const void* from, bool valid = true) {
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(static_cast<uint32_t>(__cvta_generic_to_shared(shared))), "l"(from), "r"(valid ? 16 : 0) : "memory");
}
// Closes the group of this thread's copies so far.
__device__ __forceinline__ void commit_copies() { asm volatile("cp.async.commit_group;" ::: "memory"); }
// Waits for all groups of this thread but the last kBut. What others copied is there only after a barrier.
template <int kBut> __device__ __forceinline__ void wait_copies() { asm volatile("cp.async.wait_group %0;" ::"n"(kBut) : "memory"); }
#else
inline void copy_async(void* shared, const void* from, bool valid = true, NICHELM_PLACE) { emulator::copy_async(shared, from, 16, valid ? 16 : 0, place); }
inline void commit_copies() { emulator::commit_copies(); }
template <int kBut> void wait_copies() { emulator::wait_copies(kBut); }
#endif

}  // namespace nichelm
