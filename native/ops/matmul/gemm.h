// The loops around the micro-kernel (after Goto & van de Geijn, "Anatomy of high-performance matrix multiplication", 2008):
//   b is packed once, by all threads; then each task packs a block of a that fits the second cache, and runs it past every panel of its columns of b.
// k is cut into blocks, and where the result has too few tiles for many threads, into splits that are summed in order at the end. Both cuts depend on
// the shape alone, so that the results are the same bits with any number of threads; the cuts along m and n do not change what an element computes.
#pragma once
#include "ops/matmul/epilogue.h"
#include "ops/matmul/pack.h"
#include "runtime/cpu.h"

namespace nichelm {
namespace {

constexpr int64_t kBlockSteps = 512;               // of k in a packed block, in words
constexpr int64_t kBlockBytes = 256 << 10;         // of a in a packed block: a quarter of a common second cache
constexpr int64_t kPackedBytes = int64_t{32} << 20;  // of b at a time
constexpr int64_t kPartialBytes = int64_t{32} << 20; // of the sums of splits
constexpr int64_t kSmall = 1 << 18;                // multiplications that one thread does before another has woken up

NICHELM_INLINE int64_t divide_up(int64_t x, int64_t y) { return (x + y - 1) / y; }
NICHELM_INLINE int64_t least(int64_t x, int64_t y) { return x < y ? x : y; }
NICHELM_INLINE int64_t most(int64_t x, int64_t y) { return x > y ? x : y; }

// The cuts. Panels are kRows rows of a or kColumns columns of b.
struct Plan {
  int64_t steps;                        // words along k
  int64_t blocks, block_steps;          // along k
  int64_t splits;                       // of the blocks
  int64_t row_panels, column_panels;    // of the whole product
  int64_t strip_panels;                 // columns packed at a time
  int64_t task_rows, task_columns;      // panels of one task
};

NICHELM_INLINE Plan plan_product(int64_t m, int64_t n, int64_t k, int values, int threads) {
  Plan plan;
  plan.steps = divide_up(k, values);
  plan.blocks = most(1, divide_up(plan.steps, kBlockSteps));
  plan.block_steps = divide_up(plan.steps, plan.blocks);
  plan.blocks = plan.block_steps ? divide_up(plan.steps, plan.block_steps) : 1;
  plan.row_panels = divide_up(m, kRows);
  plan.column_panels = divide_up(n, kColumns);
  plan.strip_panels = least(plan.column_panels, most(1, kPackedBytes / (4 * kColumns * most(1, plan.steps))));

  const int64_t large_tiles = divide_up(m, 112) * divide_up(n, 256);
  plan.splits = most(1, least(16 / large_tiles, least(plan.blocks, kPartialBytes / (4 * m * n))));
  plan.splits = divide_up(plan.blocks, divide_up(plan.blocks, plan.splits));

  plan.task_rows = least(plan.row_panels, most(1, kBlockBytes / (4 * kRows * most(1, plan.block_steps))));
  plan.task_columns = plan.strip_panels;
  if (m * n * most(1, k) <= kSmall) {
    plan.task_rows = plan.row_panels;
  } else if (threads > 1) {
    const int64_t wanted = divide_up(4 * int64_t{threads}, plan.splits);
    plan.task_rows = least(plan.task_rows, most(4, divide_up(plan.row_panels, wanted)));
    const int64_t tasks = plan.splits * divide_up(plan.row_panels, plan.task_rows);
    if (tasks < 2 * threads) plan.task_columns = divide_up(plan.strip_panels, divide_up(2 * int64_t{threads}, tasks));
  }
  return plan;
}

template <class Kind, class T, class C> class Product {
 public:
  Product(Cpu& device, const Operand<T>& a, const Operand<T>& b, int64_t m, int64_t n, int64_t k, const Epilogue<C>& epilogue)
      : device_(device), a_(a), b_(b), m_(m), n_(n), k_(k), epilogue_(epilogue), plan_(plan_product(m, n, k, Kind::values, device.threads())) {}

  void compute() {
    for (int64_t first = 0; first < plan_.column_panels; first += plan_.strip_panels) {
      strip_ = first, strip_panels_ = least(plan_.strip_panels, plan_.column_panels - first);
      pack_strip();
      multiply_strip();
      if (plan_.splits > 1) add_splits();
    }
  }

 private:
  int64_t k_first(int64_t block) const { return block * plan_.block_steps * Kind::values; }
  int64_t k_last(int64_t block) const { return least(k_, k_first(block + 1)); }
  int64_t steps_of(int64_t block) const { return divide_up(k_last(block) - k_first(block), Kind::values); }
  // b packed: [block][panel of the strip][step][kColumns]
  uint32_t* packed_panel(int64_t block, int64_t panel) const { return packed_ + (block * plan_.block_steps * strip_panels_ + panel * steps_of(block)) * kColumns; }
  // sums of splits: [split][panel of the strip][row panel][kTile]
  float* partial_tile(int64_t split, int64_t panel, int64_t row_panel) const { return partial_ + ((split * strip_panels_ + panel) * plan_.row_panels + row_panel) * kTile; }
  int64_t columns_of(int64_t panel) const { return least(kColumns, n_ - (strip_ + panel) * kColumns); }
  int64_t rows_of(int64_t row_panel) const { return least(kRows, m_ - row_panel * kRows); }

  void pack_strip() {
    packed_ = static_cast<uint32_t*>(device_.shared_scratch((plan_.steps * strip_panels_ * kColumns + kLanes) * 4, 2));
    const int64_t per_task = m_ * n_ * most(1, k_) <= kSmall ? plan_.blocks * strip_panels_ : most(1, 16384 / (most(1, plan_.block_steps) * kColumns));
    const int64_t panels = plan_.blocks * strip_panels_;
    device_.each(divide_up(panels, per_task), [&](int64_t task, int) {
      for (int64_t i = task * per_task; i < least(panels, (task + 1) * per_task); ++i) {
        const int64_t block = i / strip_panels_, panel = i % strip_panels_;
        pack<Kind, kColumns>(b_, (strip_ + panel) * kColumns, columns_of(panel), k_first(block), k_last(block), packed_panel(block, panel));
      }
    });
  }

  void multiply_strip() {
    if (plan_.splits > 1) partial_ = static_cast<float*>(device_.shared_scratch(plan_.splits * strip_panels_ * plan_.row_panels * kTile * 4, 3));
    const int64_t down = divide_up(plan_.row_panels, plan_.task_rows), across = divide_up(strip_panels_, plan_.task_columns);
    device_.each(plan_.splits * down * across, [&](int64_t task, int thread) {
      const int64_t split = task / (down * across), r = task / across % down * plan_.task_rows, c = task % across * plan_.task_columns;
      multiply_task(thread, split, r, least(plan_.row_panels, r + plan_.task_rows), c, least(strip_panels_, c + plan_.task_columns));
    });
  }

  void multiply_task(int thread, int64_t split, int64_t row_first, int64_t row_last, int64_t column_first, int64_t column_last) {
    const int64_t per_split = divide_up(plan_.blocks, plan_.splits), block_first = split * per_split, block_last = least(plan_.blocks, block_first + per_split);
    auto* packed_a = static_cast<uint32_t*>(device_.scratch(thread, ((row_last - row_first) * plan_.block_steps * kRows + kLanes) * 4, 2));
    const bool whole = plan_.blocks == 1;  // a tile is finished at once, and needs no place to wait in
    float* waiting = nullptr;
    if (!whole && plan_.splits == 1) waiting = static_cast<float*>(device_.scratch(thread, (row_last - row_first) * (column_last - column_first) * kTile * 4, 3));
    alignas(64) float tile_here[kTile];

    for (int64_t block = block_first; block < block_last; ++block) {
      const int64_t steps = steps_of(block);
      for (int64_t r = row_first; r < row_last; ++r)
        pack<Kind, kRows>(a_, r * kRows, rows_of(r), k_first(block), k_last(block), packed_a + (r - row_first) * steps * kRows);
      for (int64_t c = column_first; c < column_last; ++c) {
        const uint32_t* panel = packed_panel(block, c);
        const int64_t columns = columns_of(c);
        for (int64_t r = row_first; r < row_last; ++r) {
          const int64_t rows = rows_of(r);
          float* tile = whole ? tile_here : waiting ? waiting + ((c - column_first) * (row_last - row_first) + r - row_first) * kTile : partial_tile(split, c, r);
          micro_kernel_for<Kind>(rows, columns)(steps, packed_a + (r - row_first) * steps * kRows, panel, tile, block > block_first);
          if (plan_.splits == 1 && block + 1 == block_last) finish(epilogue_, tile, r * kRows, (strip_ + c) * kColumns, rows, columns);
        }
      }
    }
  }

  void add_splits() {
    device_.each(divide_up(strip_panels_ * plan_.row_panels, 16), [&](int64_t task, int) {
      for (int64_t i = task * 16; i < least(strip_panels_ * plan_.row_panels, (task + 1) * 16); ++i) {
        const int64_t c = i / plan_.row_panels, r = i % plan_.row_panels;
        float* sum = partial_tile(0, c, r);
        for (int64_t split = 1; split < plan_.splits; ++split) {
          const float* other = partial_tile(split, c, r);
          for (int j = 0; j < kTile; ++j) sum[j] += other[j];
        }
        finish(epilogue_, sum, r * kRows, (strip_ + c) * kColumns, rows_of(r), columns_of(c));
      }
    });
  }

  Cpu& device_;
  const Operand<T> a_, b_;
  const int64_t m_, n_, k_;
  const Epilogue<C> epilogue_;
  const Plan plan_;
  int64_t strip_ = 0, strip_panels_ = 0;  // the columns at work, in panels
  uint32_t* packed_ = nullptr;
  float* partial_ = nullptr;
};

}  // namespace
}  // namespace nichelm
