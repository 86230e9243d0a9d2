// Floats as unsigned numbers in the same order: what selection works on.
#pragma once
#include "cuda/kernel.h"

namespace nichelm {

// 0 and -0 are one.
__device__ __forceinline__ uint32_t key_of(float x) {
  union { float value; uint32_t bits; } u;
  u.value = x == 0 ? 0.0f : x;
  return u.bits >> 31 ? ~u.bits : u.bits | 0x80000000u;
}
__device__ __forceinline__ float value_of(uint32_t key) {
  union { uint32_t bits; float value; } u;
  u.bits = key >> 31 ? key & 0x7fffffffu : ~key;
  return u.value;
}

}  // namespace nichelm
