// Sums and maxima over a warp and over a block. Every lane gets the result; the order is fixed.
#pragma once
#include "cuda/kernel.h"

namespace nichelm {

template <class T> __device__ __forceinline__ T warp_sum(T x) {
#pragma unroll
  for (int lane = 16; lane > 0; lane /= 2) x += __shfl_xor_sync(~0u, x, lane);
  return x;
}

// NaN loses: use it where NaN shows elsewhere.
__device__ __forceinline__ float warp_max(float x) {
#pragma unroll
  for (int lane = 16; lane > 0; lane /= 2) x = fmaxf(x, __shfl_xor_sync(~0u, x, lane));
  return x;
}

// parts: shared memory for one T a warp, which the block must not be reading.
template <class T> __device__ __forceinline__ T block_sum(T x, T* parts) {
  const unsigned warps = blockDim.x / 32;
  x = warp_sum(x);
  if (threadIdx.x % 32 == 0) parts[threadIdx.x / 32] = x;
  __syncthreads();
  T sum = 0;
  for (unsigned w = 0; w < warps; ++w) sum += parts[w];
  return sum;
}
// Two sums at once; parts: two T a warp.
template <class T> __device__ __forceinline__ void block_sums(T& x, T& y, T* parts) {
  const unsigned warps = blockDim.x / 32;
  x = warp_sum(x), y = warp_sum(y);
  if (threadIdx.x % 32 == 0) parts[threadIdx.x / 32] = x, parts[warps + threadIdx.x / 32] = y;
  __syncthreads();
  x = y = 0;
  for (unsigned w = 0; w < warps; ++w) x += parts[w], y += parts[warps + w];
}
__device__ __forceinline__ float block_max(float x, float* parts) {
  const unsigned warps = blockDim.x / 32;
  x = warp_max(x);
  if (threadIdx.x % 32 == 0) parts[threadIdx.x / 32] = x;
  __syncthreads();
  float most = parts[0];
  for (unsigned w = 1; w < warps; ++w) most = fmaxf(most, parts[w]);
  return most;
}

}  // namespace nichelm
