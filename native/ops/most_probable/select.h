// The k largest of a row. They are kept in a heap whose root is the least of them, so that a look at the root passes over nearly all of the row.
#pragma once
#include <cstdint>

#include "runtime/bf16.h"

namespace nichelm {
namespace {

// Whether a stands behind b in the order of the result: of equal ones the lower id comes first.
NICHELM_INLINE bool behind(const float* z, int32_t a, int32_t b) { return z[a] < z[b] || (z[a] == z[b] && a > b); }

// Restores the heap below `at`: a parent stands behind its children.
NICHELM_INLINE void sink(const float* z, int32_t* heap, int64_t size, int64_t at) {
  for (int64_t child; (child = 2 * at + 1) < size;) {
    if (child + 1 < size && behind(z, heap[child + 1], heap[child])) ++child;
    if (!behind(z, heap[child], heap[at])) return;
    const int32_t swap = heap[at];
    heap[at] = heap[child];
    heap[child] = swap;
    at = child;
  }
}

// ids: of the k largest of z[0..vocabulary), descending.
void largest_first(const float* z, int64_t vocabulary, int32_t* ids, int64_t k) {
  for (int64_t j = 0; j < k; ++j) ids[j] = static_cast<int32_t>(j);
  for (int64_t at = k / 2; at-- > 0;) sink(z, ids, k, at);
  float least = z[ids[0]];
  for (int64_t v = k; v < vocabulary; ++v) {
    if (!(z[v] > least)) continue;  // of equal ones the first came before
    ids[0] = static_cast<int32_t>(v);
    sink(z, ids, k, 0);
    least = z[ids[0]];
  }
  for (int64_t size = k; size > 1;) {  // the root goes to the end, which is where it belongs
    --size;
    const int32_t swap = ids[0];
    ids[0] = ids[size];
    ids[size] = swap;
    sink(z, ids, size, 0);
  }
}

}  // namespace
}  // namespace nichelm
