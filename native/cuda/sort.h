// A stable sort of places by small keys, the same whatever order threads run in: from the lowest digit to the highest, places are counted by digit
// tile by tile, the counts summed up over digits and then tiles, and each place put where its count says (LSD radix sort).
#pragma once
#include "cuda/reduce.h"

namespace nichelm {
namespace {

constexpr int kDigitBits = 8, kDigits = 1 << kDigitBits, kTilePlaces = 1024;

__device__ __forceinline__ int digit_of(int32_t key, int shift) { return key >> shift & (kDigits - 1); }

// counts: (tiles, kDigits)
__global__ void __launch_bounds__(kDigits) count_digits(const int32_t* keys, int64_t size, int shift, int32_t* counts) {
  int32_t* count = shared_memory<int32_t>();  // of each warp, (8, kDigits)
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  for (int w = 0; w < kDigits / 32; ++w) count[w * kDigits + threadIdx.x] = 0;
  __syncthreads();
  const int64_t first = int64_t{blockIdx.x} * kTilePlaces + warp * (kTilePlaces / 8);
  for (int i = 0; i < kTilePlaces / 8; i += 32) {
    const bool present = first + i + lane < size;
    const int digit = present ? digit_of(keys[first + i + lane], shift) : -1;
    unsigned same = __ballot_sync(~0u, present);
    for (int bit = 0; bit < kDigitBits; ++bit) {
      const unsigned set = __ballot_sync(~0u, digit >> bit & 1);
      same &= digit >> bit & 1 ? set : ~set;
    }
    if (present && (same & ((1u << lane) - 1)) == 0) count[warp * kDigits + digit] += __popc(same);  // the first of its kind
    __syncwarp();
  }
  __syncthreads();
  int32_t sum = 0;
  for (int w = 0; w < kDigits / 32; ++w) sum += count[w * kDigits + threadIdx.x];
  counts[int64_t{blockIdx.x} * kDigits + threadIdx.x] = sum;
}

// counts become the place of the first of each digit and tile. One block, a thread a digit.
__global__ void __launch_bounds__(kDigits) sum_counts(int32_t* counts, int64_t tiles) {
  int32_t* totals = shared_memory<int32_t>();
  int32_t total = 0;
  for (int64_t t = 0; t < tiles; ++t) total += counts[t * kDigits + threadIdx.x];
  totals[threadIdx.x] = total;
  __syncthreads();
  int32_t before = 0;
  for (unsigned d = 0; d < threadIdx.x; ++d) before += totals[d];
  for (int64_t t = 0; t < tiles; ++t) {
    const int32_t count = counts[t * kDigits + threadIdx.x];
    counts[t * kDigits + threadIdx.x] = before;
    before += count;
  }
}

// One warp a tile goes through its places in order. places may be null at first: then they are 0, 1, 2, ...
__global__ void __launch_bounds__(32) move_places(const int32_t* keys, const int32_t* places, int64_t size, int shift, const int32_t* counts, int32_t* to_keys, int32_t* to_places) {
  int32_t* next = shared_memory<int32_t>();
  const int lane = threadIdx.x;
  for (int d = lane; d < kDigits; d += 32) next[d] = counts[int64_t{blockIdx.x} * kDigits + d];
  __syncwarp();
  for (int i = 0; i < kTilePlaces; i += 32) {
    const int64_t at = int64_t{blockIdx.x} * kTilePlaces + i + lane;
    const bool present = at < size;
    const int32_t key = present ? keys[at] : 0;
    const int digit = digit_of(key, shift);
    unsigned same = __ballot_sync(~0u, present);
    for (int bit = 0; bit < kDigitBits; ++bit) {
      const unsigned set = __ballot_sync(~0u, digit >> bit & 1);
      same &= digit >> bit & 1 ? set : ~set;
    }
    const unsigned before = same & ((1u << lane) - 1);
    const int32_t to = next[digit] + __popc(before);
    __syncwarp();
    if (present) {
      to_keys[to] = key;
      to_places[to] = places ? places[at] : static_cast<int32_t>(at);
      if (before == 0) next[digit] += __popc(same);
    }
    __syncwarp();
  }
}

struct Sorted { const int32_t *keys, *places; };

// Sorts keys (size) in [0, limit). memory: sort_words(size) words of scratch; keys may be the first `size` of them, and are overwritten.
inline int64_t sort_words(int64_t size) { return 4 * size + divide_up(size, kTilePlaces) * kDigits; }
inline Sorted sort_places(Cuda& device, int32_t* keys, int64_t size, int64_t limit, int32_t* memory) {
  int32_t *from_keys = keys, *to_keys = memory + size, *from_places = nullptr, *to_places = memory + 2 * size, *other_places = memory + 3 * size, *counts = memory + 4 * size;
  const int64_t tiles = divide_up(size, kTilePlaces);
  for (int shift = 0; shift == 0 || (limit - 1) >> shift > 0; shift += kDigitBits) {
    device.launch("count_digits", count_digits, grid_of(tiles), kDigits, kDigits / 32 * kDigits * sizeof(int32_t), from_keys, size, shift, counts);
    device.launch("sum_counts", sum_counts, dim3(1), kDigits, kDigits * sizeof(int32_t), counts, tiles);
    device.launch("move_places", move_places, grid_of(tiles), 32, kDigits * sizeof(int32_t), from_keys, from_places, size, shift, counts, to_keys, to_places);
    int32_t* const keys_before = from_keys;
    int32_t* const places_before = from_places ? from_places : other_places;
    from_keys = to_keys, to_keys = keys_before;
    from_places = to_places, to_places = places_before;
  }
  return {from_keys, from_places};
}

}  // namespace
}  // namespace nichelm
