// What Hopper's pipelines are synchronised with (sm_90 on): barriers in shared memory that count arrivals and bytes, barriers of some warps of a block,
// fences, registers that go from one warpgroup to another. Kernels that use them have their body between #if NICHELM_HOPPER and #endif.
#pragma once
#include "cuda/kernel.h"
#ifndef __CUDACC__
#include "emulator/hopper.h"
#endif

// Whether this pass of the compiler can have them: the host's, the emulator's, and that for sm_90a.
#if !defined(__CUDA_ARCH__) || defined(__CUDA_ARCH_FEAT_SM90_ALL)
#define NICHELM_HOPPER 1
#else
#define NICHELM_HOPPER 0
#endif

namespace nichelm {

// A phase of it ends when so many threads have arrived and as many bytes have landed as they said they expect; then the next begins. Phases have parity
// 0, 1, 0, ..; waiting for parity 1 on a fresh barrier returns at once.
using Mbarrier = uint64_t;

// Which of kStages places a pipeline is at, and the parity of its phase there.
template <int kStages> struct Stage {
  int index = 0;
  unsigned parity = 0;
  __device__ __forceinline__ void advance() {
    if (++index == kStages) index = 0, parity ^= 1;
  }
};

#ifdef __CUDACC__
__device__ __forceinline__ uint32_t shared_word(const void* address) { return static_cast<uint32_t>(__cvta_generic_to_shared(address)); }

#if NICHELM_HOPPER
__device__ __forceinline__ void mbarrier_init(Mbarrier* b, int arrivals) { asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(shared_word(b)), "r"(arrivals) : "memory"); }
// By the thread that initialised them, before the block meets.
__device__ __forceinline__ void mbarrier_fence_init() { asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory"); }
__device__ __forceinline__ void mbarrier_arrive(Mbarrier* b) { asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(shared_word(b)) : "memory"); }
// Arrives, and expects so many bytes more.
__device__ __forceinline__ void mbarrier_expect(Mbarrier* b, int bytes) {
  asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(shared_word(b)), "r"(bytes) : "memory");
}
__device__ __forceinline__ void mbarrier_wait(Mbarrier* b, unsigned parity) {
  uint32_t passed;
  do {  // it may come back without, after a time
    asm volatile("{\n .reg .pred p;\n mbarrier.try_wait.parity.shared::cta.b64 p, [%1], %2;\n selp.u32 %0, 1, 0, p;\n}" : "=r"(passed) : "r"(shared_word(b)), "r"(parity) : "memory");
  } while (!passed);
}
// What this thread wrote to shared memory before may be read by tensor copies and matrix instructions, once the threads have met.
__device__ __forceinline__ void fence_async_proxy() { asm volatile("fence.proxy.async.shared::cta;" ::: "memory"); }
// Barrier `number` (1 to 15) of `threads` threads: wait for them, or only be counted.
__device__ __forceinline__ void barrier_wait(int number, int threads) { asm volatile("bar.sync %0, %1;" ::"r"(number), "r"(threads) : "memory"); }
__device__ __forceinline__ void barrier_arrive(int number, int threads) { asm volatile("bar.arrive %0, %1;" ::"r"(number), "r"(threads) : "memory"); }
// All warps of a warpgroup; needs __launch_bounds__ with a second argument of 1.
template <int kRegisters> __device__ __forceinline__ void give_registers() { asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(kRegisters)); }
template <int kRegisters> __device__ __forceinline__ void take_registers() { asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(kRegisters)); }
#endif
#else
inline uint32_t shared_word(const void* address, NICHELM_PLACE) { return emulator::shared_address(address, place); }
inline void mbarrier_init(Mbarrier* b, int arrivals, NICHELM_PLACE) { emulator::mbarrier_init(b, arrivals, place); }
inline void mbarrier_fence_init() { emulator::mbarrier_fence_init(); }
inline void mbarrier_arrive(Mbarrier* b, NICHELM_PLACE) { emulator::mbarrier_arrive(b, 0, place); }
inline void mbarrier_expect(Mbarrier* b, int bytes, NICHELM_PLACE) { emulator::mbarrier_arrive(b, bytes, place); }
inline void mbarrier_wait(Mbarrier* b, unsigned parity, NICHELM_PLACE) {
  while (!emulator::mbarrier_passed(b, parity, place)) emulator::spin(place);
}
inline void fence_async_proxy() { emulator::record_fence(emulator::current().number); }
inline void barrier_wait(int number, int threads, NICHELM_PLACE) { emulator::barrier(number, static_cast<unsigned>(threads), true, place); }
inline void barrier_arrive(int number, int threads, NICHELM_PLACE) { emulator::barrier(number, static_cast<unsigned>(threads), false, place); }
template <int kRegisters> void give_registers(NICHELM_PLACE) { emulator::change_registers(kRegisters, false, place); }
template <int kRegisters> void take_registers(NICHELM_PLACE) { emulator::change_registers(kRegisters, true, place); }
#endif

}  // namespace nichelm
