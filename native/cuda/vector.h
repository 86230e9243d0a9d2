// Several neighbouring elements in registers, loaded and stored at once: 16 bytes a lane where the row allows it.
#pragma once
#include "cuda/kernel.h"

namespace nichelm {

// The most elements of T that one load moves.
template <class T> constexpr int kVector = 16 / static_cast<int>(sizeof(T));

namespace cuda_vector {
template <int kBytes> struct Word;
template <> struct Word<2> { using type = uint16_t; };
template <> struct Word<4> { using type = uint32_t; };
template <> struct Word<8> { using type = uint2; };
template <> struct Word<16> { using type = uint4; };

// The hardware refuses a vector at an address that is no multiple of its size.
template <class Word> __device__ __forceinline__ void check_aligned([[maybe_unused]] const void* at) {
#ifndef __CUDACC__
  if (reinterpret_cast<uintptr_t>(at) % sizeof(Word)) emulator::fail("an access of %zu bytes is not aligned to them", sizeof(Word));
#endif
}
}  // namespace cuda_vector

// from and to must be aligned to kCount elements.
template <int kCount, class T> __device__ __forceinline__ void load_vector(const T* from, float (&x)[kCount]) {
  static_assert(kCount * sizeof(T) <= 16);
  union { typename cuda_vector::Word<kCount * sizeof(T)>::type word; T values[kCount]; } u;
  cuda_vector::check_aligned<decltype(u.word)>(from);
  u.word = *reinterpret_cast<const decltype(u.word)*>(from);
#pragma unroll
  for (int i = 0; i < kCount; ++i) x[i] = widen(u.values[i]);
}
template <int kCount, class T> __device__ __forceinline__ void store_vector(const float (&x)[kCount], T* to) {
  static_assert(kCount * sizeof(T) <= 16);
  union { typename cuda_vector::Word<kCount * sizeof(T)>::type word; T values[kCount]; } u;
#pragma unroll
  for (int i = 0; i < kCount; ++i) narrow(x[i], u.values[i]);
  cuda_vector::check_aligned<decltype(u.word)>(to);
  *reinterpret_cast<decltype(u.word)*>(to) = u.word;
}

// Where rows of width elements, packed from an aligned address on, may be read by vectors: in each of them the last vector ends with the row.
template <class T> bool rows_of_vectors(int64_t width) { return width % kVector<T> == 0; }

// Calls act with std::integral_constant<int, V>: V = kVector<T> where the rows allow it, else 1.
template <class T, class Act> void with_vector(int64_t width, const Act& act) {
  if (rows_of_vectors<T>(width)) act(std::integral_constant<int, kVector<T>>{});
  else act(std::integral_constant<int, 1>{});
}

}  // namespace nichelm
