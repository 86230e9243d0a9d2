// The words of CUDA C++ that kernel files use, for an ordinary C++ compiler. Standard headers come before the macros: some use such names themselves.
#pragma once
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "emulator/grid.h"

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline
#define __launch_bounds__(...)
#define __grid_constant__

using dim3 = nichelm::emulator::Extent;
inline nichelm::emulator::Index threadIdx, blockIdx, blockDim, gridDim;

// Vector types are aligned to their size, as the hardware needs them to be.
struct alignas(8) float2 { float x, y; };
struct alignas(16) float4 { float x, y, z, w; };
struct alignas(8) uint2 { unsigned x, y; };
struct alignas(16) uint4 { unsigned x, y, z, w; };
inline uint4 make_uint4(unsigned x, unsigned y, unsigned z, unsigned w) { return {x, y, z, w}; }
inline float2 make_float2(float x, float y) { return {x, y}; }
inline float4 make_float4(float x, float y, float z, float w) { return {x, y, z, w}; }

inline int __popc(unsigned x) { return __builtin_popcount(x); }
// What no compiler joins with a neighbouring operation.
inline float __fmul_rn(float a, float b) { return a * b; }
inline float __fsub_rn(float a, float b) { return a - b; }

#define NICHELM_PLACE nichelm::emulator::Place place = nichelm::emulator::Place::here()

inline void __syncthreads(NICHELM_PLACE) { nichelm::emulator::barrier(0, 0, true, place); }
inline void __syncwarp(unsigned mask = ~0u, NICHELM_PLACE) {
  nichelm::emulator::collective("__syncwarp", mask, nullptr, [](void**, unsigned) {}, place);
}

namespace nichelm::emulator {

template <class T> T shuffle(const char* what, T value, unsigned from, unsigned mask, Place place) {
  struct Slot { T value; unsigned from; T got; } slot{value, from, value};
  collective(what, mask, &slot, [](void** slots, unsigned mask) {
    for (unsigned lane = 0; lane < 32; ++lane) {
      if (!(mask >> lane & 1)) continue;
      auto* to = static_cast<Slot*>(slots[lane]);
      if (!(mask >> to->from & 1)) fail("a shuffle reads lane %u, which is not in its mask %08x", to->from, mask);
      to->got = static_cast<Slot*>(slots[to->from])->value;
    }
  }, place);
  return slot.got;
}

}  // namespace nichelm::emulator

template <class T> T __shfl_xor_sync(unsigned mask, T value, int other, NICHELM_PLACE) {
  return nichelm::emulator::shuffle("__shfl_xor_sync", value, nichelm::emulator::current().lane ^ static_cast<unsigned>(other), mask, place);
}
template <class T> T __shfl_sync(unsigned mask, T value, int lane, NICHELM_PLACE) {
  return nichelm::emulator::shuffle("__shfl_sync", value, static_cast<unsigned>(lane) % 32, mask, place);
}
template <class T> T __shfl_up_sync(unsigned mask, T value, unsigned by, NICHELM_PLACE) {
  const unsigned lane = nichelm::emulator::current().lane;
  return nichelm::emulator::shuffle("__shfl_up_sync", value, lane < by ? lane : lane - by, mask, place);
}
inline unsigned __ballot_sync(unsigned mask, int predicate, NICHELM_PLACE) {
  struct Slot { int predicate; unsigned got; } slot{predicate, 0};
  nichelm::emulator::collective("__ballot_sync", mask, &slot, [](void** slots, unsigned mask) {
    unsigned votes = 0;
    for (unsigned lane = 0; lane < 32; ++lane)
      if ((mask >> lane & 1) && static_cast<Slot*>(slots[lane])->predicate) votes |= 1u << lane;
    for (unsigned lane = 0; lane < 32; ++lane)
      if (mask >> lane & 1) static_cast<Slot*>(slots[lane])->got = votes;
  }, place);
  return slot.got;
}
