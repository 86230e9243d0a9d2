// For each row the centroid with the least |c|² - 2 x · c: a matrix product whose tiles end in registers, where they are compared with the least so far.
// No product is ever written to memory. Local to the file that includes it: kernel files are compiled for several instruction sets.
#pragma once
#include "cluster/kernels.h"
#include "ops/matmul/pack.h"

namespace nichelm::cluster {
namespace {

static_assert(kNearestColumns % kColumns == 0 && kLanes <= kNearestLanes && kRows <= kNearestRows);

typedef int32_t Places __attribute__((vector_size(kLanes * 4)));

NICHELM_INLINE Places load_places(const int32_t* p) { Places x; std::memcpy(&x, p, sizeof x); return x; }

template <int... I> NICHELM_INLINE Places counted(std::integer_sequence<int, I...>) { return Places{I...}; }

// The least of each lane so far, and where it was: [R][kLanes]. Of equals the first is kept, and NaN never is.
template <int R, int V> void compare_tile(int64_t steps, const uint32_t* a, const uint32_t* b, const float* centre_squares, int32_t first, float* least, int32_t* place) {
  Floats sum[R][V], squares[V];
  tile_sums<SingleF32>(steps, a, b, sum);
  for (int v = 0; v < V; ++v) squares[v] = load_floats(centre_squares + v * kLanes);
  const Places here = counted(std::make_integer_sequence<int, kLanes>{}) + first;
#pragma GCC unroll 16
  for (int i = 0; i < R; ++i) {
    Floats best = load_floats(least + i * kLanes);
    Places at = load_places(place + i * kLanes);
#pragma GCC unroll 4
    for (int v = 0; v < V; ++v) {
      const Floats d = squares[v] - 2 * sum[i][v];
      at = d < best ? here + v * kLanes : at;
      best = d < best ? d : best;
    }
    store(least + i * kLanes, best);
    std::memcpy(place + i * kLanes, &at, sizeof at);
  }
}

using CompareTile = void (*)(int64_t steps, const uint32_t* a, const uint32_t* b, const float* centre_squares, int32_t first, float* least, int32_t* place);
template <int V, int... I> constexpr CompareTile pick_compare(int64_t rows, std::integer_sequence<int, I...>) {
  constexpr CompareTile all[] = {compare_tile<I + 1, V>...};
  return all[rows - 1];
}
NICHELM_INLINE CompareTile compare_for(int64_t rows, int64_t columns) {
  constexpr auto counts = std::make_integer_sequence<int, kRows>{};
  return columns <= kLanes ? pick_compare<1>(rows, counts) : pick_compare<kVectors>(rows, counts);
}

// Panels of kColumns centroids, [panel][width][kColumns].
NICHELM_INLINE void pack_centres(const float* centroids, int64_t clusters, int64_t width, int64_t first, int64_t last, float* packed) {
  const Operand<float> from{centroids, width, true, clusters * width};
  for (int64_t c = first; c < last && c < clusters; c += kColumns)
    pack<SingleF32, kColumns>(from, c, clusters - c < kColumns ? clusters - c : kColumns, 0, width, reinterpret_cast<uint32_t*>(packed + c * width));
}

// The least of a row's lanes; of equals, the one in the first place.
NICHELM_INLINE void least_lane(const float* least, const int32_t* place, float& value, int32_t& label) {
  value = least[0], label = place[0];
  for (int l = 1; l < kLanes; ++l) {
    const bool better = least[l] < value || (least[l] == value && place[l] < label);
    value = better ? least[l] : value;
    label = better ? place[l] : label;
  }
}

// label[r]: the first c with the least |c|² - 2 x[r] · c, and value[r] that; 0 and infinity where there is none.
NICHELM_INLINE void least_terms(const float* x, int64_t rows, int64_t width, const float* packed, const float* centre_squares, int64_t clusters, float* scratch, int32_t* label, float* value) {
  const int64_t panels = (rows + kRows - 1) / kRows;
  auto* own = reinterpret_cast<uint32_t*>(scratch);
  float* least = scratch + panels * kRows * width;
  auto* place = reinterpret_cast<int32_t*>(least + panels * kRows * kLanes);
  const auto rows_of = [&](int64_t panel) { return rows - panel * kRows < kRows ? rows - panel * kRows : int64_t{kRows}; };
  const Operand<float> from{x, width, true, rows * width};
  for (int64_t p = 0; p < panels; ++p) pack<SingleF32, kRows>(from, p * kRows, rows_of(p), 0, width, own + p * kRows * width);
  for (int64_t i = 0; i < panels * kRows * kLanes; ++i) least[i] = __builtin_inff(), place[i] = 0;
  for (int64_t c = 0; c < clusters; c += kColumns)
    for (int64_t p = 0; p < panels; ++p)
      compare_for(rows_of(p), clusters - c)(width, own + p * kRows * width, reinterpret_cast<const uint32_t*>(packed + c * width), centre_squares + c, static_cast<int32_t>(c),
                                            least + p * kRows * kLanes, place + p * kRows * kLanes);
  for (int64_t r = 0; r < rows; ++r) least_lane(least + r * kLanes, place + r * kLanes, value[r], label[r]);
}

}  // namespace
}  // namespace nichelm::cluster
