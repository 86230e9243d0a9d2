// The innermost product: a tile of rows x kColumns sums, all in registers, over two packed panels.
// A panel is [steps][rows] or [steps][columns] of 32-bit words. A word is one f32, or on CPUs with bf16 dot products two bf16 that follow each other along k.
#pragma once
#include <cstdint>
#include <cstring>
#include <utility>

#include "runtime/lanes.h"

namespace nichelm {
namespace {

// Tile sizes: as many sums as leave registers for one row of b and a broadcast.
#if defined(NICHELM_ISA_avx512) || defined(NICHELM_ISA_avx512bf16)
constexpr int kRows = 14;
#elif defined(NICHELM_ISA_avx2)
constexpr int kRows = 6;
#else
constexpr int kRows = 4;
#endif
constexpr int kVectors = 2, kColumns = kVectors * kLanes, kTile = kRows * kColumns;

typedef Lanes Floats;
typedef LaneBits Words;

NICHELM_INLINE Floats load_floats(const void* p) { Floats x; std::memcpy(&x, p, sizeof x); return x; }
NICHELM_INLINE Words load_words(const void* p) { Words x; std::memcpy(&x, p, sizeof x); return x; }
NICHELM_INLINE void store(void* p, Floats x) { std::memcpy(p, &x, sizeof x); }
NICHELM_INLINE void store(void* p, Words x) { std::memcpy(p, &x, sizeof x); }

// What a word holds, and how a word of a and the words of b are multiplied.
struct SingleF32 { static constexpr int values = 1; };  // of k in one word
NICHELM_INLINE void multiply_add(SingleF32, Floats& sum, const uint32_t& a, Floats b) {
  float value;
  std::memcpy(&value, &a, 4);
  sum += value * b;
}
#ifdef NICHELM_ISA_avx512bf16
struct PairBf16 { static constexpr int values = 2; };
NICHELM_INLINE void multiply_add(PairBf16, Floats& sum, const uint32_t& a, Floats b) {
  const __m512i pair = _mm512_set1_epi32(static_cast<int>(a));
  sum = (Floats)_mm512_dpbf16_ps((__m512)sum, (__m512bh)pair, (__m512bh)b);
}
#endif

// Memory that is asked for while tiles are multiplied, some lines at every step, so that no burst of requests stands in the way of the tiles' own:
// rows that are packed next; before them the next panel of an operand that is packed already; and first the rows of the result that the tile will go to.
// It is small and stays in memory: a copy in registers for every tile took 4% of short products' time.
struct Ahead {
  struct Rows {  // all as long, and as far from each other
    const char* at = nullptr;
    int64_t count = 0, left = 0;  // rows that are still to come, and lines of this one
    int64_t lines = 0, jump = 0;  // lines of a row; bytes from the end of one's last line to the next

    Rows() = default;
    Rows(const void* first, int64_t row_bytes, int64_t stride_bytes, int64_t rows) : at(static_cast<const char*>(first)), count(row_bytes > 0 ? rows : 0) {
      if (row_bytes == stride_bytes && count) row_bytes *= rows, count = 1;
      left = lines = (row_bytes + 63) / 64;
      jump = stride_bytes - 64 * lines;
    }
  };
  struct Result {  // rows of c and of one other operand, each of one line or of two that are `second` bytes apart
    const char *c = nullptr, *other = nullptr;
    int64_t count = 0, stride = 0, other_stride = 0, second = 0;
  };
  struct Lines {  // one behind the other
    const char* at = nullptr;
    int64_t left = 0;
  };
  Result result;
  Lines panel;      // of the shared operand, which is packed already but may be far
  Lines after;      // when panel has come: the rest of it, where the sums that wait for this block's stand in its place
  Rows rows, then;  // then: when rows have come

  __attribute__((always_inline)) void step(int64_t p) {
    if (result.count) {
      if (p & 1) return;  // two to four lines every other step
      __builtin_prefetch(result.c);
      __builtin_prefetch(result.c + result.second);
      __builtin_prefetch(result.other);
      __builtin_prefetch(result.other + result.second);
      result.c += result.stride, result.other += result.other_stride, --result.count;
      return;
    }
    if (panel.left) {
      __builtin_prefetch(panel.at, 0, 2);
      panel.at += 64;
      if (!--panel.left) panel = after, after.left = 0;
      return;
    }
    if (!rows.count) return;
    __builtin_prefetch(rows.at, 0, 2);
    rows.at += 64;
    if (--rows.left) return;
    rows.at += rows.jump, rows.left = rows.lines, --rows.count;
    if (!rows.count) rows = then, then = {};
  }
};

// sum[i][v] = over all steps a[step][i] b[step][v * kLanes ...]. a: [steps][kRows], b: [steps][kColumns].
template <class Kind, int R, int V> NICHELM_INLINE void tile_sums(int64_t steps, const uint32_t* a, const uint32_t* b, Floats (&sum)[R][V], Ahead* next = nullptr) {
#pragma GCC unroll 16
  for (int i = 0; i < R; ++i)
#pragma GCC unroll 4
    for (int v = 0; v < V; ++v) sum[i][v] = Floats{};
  for (int64_t p = 0; p < steps; ++p, a += kRows, b += kColumns) {
    if (next) next->step(p);
    Floats row[V];
#pragma GCC unroll 4
    for (int v = 0; v < V; ++v) row[v] = load_floats(b + v * kLanes);
#pragma GCC unroll 16
    for (int i = 0; i < R; ++i)
#pragma GCC unroll 4
      for (int v = 0; v < V; ++v) multiply_add(Kind{}, sum[i][v], a[i], row[v]);
  }
}

// tile[i][j] (= or +=, by add) the sums, for i < R and j < V * kLanes. tile: [kRows][kColumns].
template <class Kind, int R, int V> void micro_kernel(int64_t steps, const uint32_t* a, const uint32_t* b, float* tile, bool add, Ahead& ahead) {
  Floats sum[R][V];
  tile_sums<Kind>(steps, a, b, sum, &ahead);
#pragma GCC unroll 16
  for (int i = 0; i < R; ++i)
#pragma GCC unroll 4
    for (int v = 0; v < V; ++v) {
      float* place = tile + i * kColumns + v * kLanes;
      store(place, add ? load_floats(place) + sum[i][v] : sum[i][v]);
    }
}

using MicroKernel = void (*)(int64_t steps, const uint32_t* a, const uint32_t* b, float* tile, bool add, Ahead& ahead);

// One kernel for each number of rows that the last panel may have, so that a short panel costs what it holds.
template <class Kind, int V, int... I> constexpr MicroKernel pick(int rows, std::integer_sequence<int, I...>) {
  constexpr MicroKernel all[] = {micro_kernel<Kind, I + 1, V>...};
  return all[rows - 1];
}
template <class Kind> MicroKernel micro_kernel_for(int64_t rows, int64_t columns) {
  constexpr auto counts = std::make_integer_sequence<int, kRows>{};
  return columns <= kLanes ? pick<Kind, 1>(static_cast<int>(rows), counts) : pick<Kind, kVectors>(static_cast<int>(rows), counts);
}

}  // namespace
}  // namespace nichelm
