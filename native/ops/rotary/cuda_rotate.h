// Device code that rotary and rotary_table share: a block turns the pairs of one token.
#pragma once

#include "cuda/vector.h"

namespace nichelm {

// x, y: of the token, width = (turned + kv_heads) 2 half; y may lie on x: a pair is read before it is written. cosine, sine: of its position, [half].
// In 32 bits, which hold any token's elements: to divide 64 bits is a call.
template <class T, int V, int kThreads>
__device__ __forceinline__ void rotate_token(const T* x, T* y, const float* cosine, const float* sine, unsigned width, unsigned turned, unsigned half) {
  for (unsigned p = threadIdx.x * V; p < turned * half; p += kThreads * V) {
    const unsigned i = p % half, at = p / half * 2 * half + i;
    float a[V], b[V], above[V], below[V];
    load_vector<V>(x + at, a), load_vector<V>(x + at + half, b);
#pragma unroll
    for (int j = 0; j < V; ++j) {
      const float c = cosine[i + j], s = sine[i + j];
      above[j] = a[j] * c - b[j] * s;
      below[j] = b[j] * c + a[j] * s;
    }
    store_vector<V>(above, y + at), store_vector<V>(below, y + at + half);
  }
  if (x == y) return;
  for (unsigned i = turned * 2 * half + threadIdx.x * V; i < width; i += kThreads * V) {
    float v[V];
    load_vector<V>(x + i, v), store_vector<V>(v, y + i);
  }
}

}  // namespace nichelm
