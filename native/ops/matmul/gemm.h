// The loops around the micro-kernel (after Goto & van de Geijn, "Anatomy of high-performance matrix multiplication", 2008).
// One operand is packed whole by all threads first: the one that every task walks through. The other is packed by the tasks, in blocks that stay in
// the second cache: a in blocks of rows, or b panel by panel where b has more columns than a has rows. Of a product whose result is small beside k (the gradient
// of a small model's weight) tasks pack both. What is packed next is asked for while tiles are multiplied.
// Groups are products of one shape, whose operands and results lie one behind the other. Some of them are done at once, so that all threads have work; what
// an element computes is what it would be in a product alone.
#pragma once
#include "ops/matmul/epilogue.h"
#include "ops/matmul/pack.h"
#include "ops/matmul/plan.h"
#include "runtime/cpu.h"

namespace nichelm {
namespace {

template <class Kind, class T, class C> class Product {
 public:
  // a, b: those of the first group; m, n, k: of one group.
  Product(Cpu& device, const Operand<T>& a, const Operand<T>& b, int64_t groups, int64_t m, int64_t n, int64_t k, const Epilogue<C>& epilogue)
      : device_(device), a_(a), b_(b), groups_(groups), m_(m), n_(n), k_(k), epilogue_(epilogue), plan_(plan_product(groups, m, n, k, Kind::values, device.threads())) {}

  void compute() {
    for (group_ = 0; group_ < groups_; group_ += plan_.groups) {
      groups_here_ = least(plan_.groups, groups_ - group_);
      if (plan_.share_a && !plan_.deep) pack_a();
      for (int64_t first = 0; first < plan_.column_panels; first += plan_.strip_panels) {
        strip_ = first, strip_panels_ = least(plan_.strip_panels, plan_.column_panels - first);
        if (!plan_.share_a && !plan_.deep) pack_strip_of_b();
        multiply_strip();
        if (plan_.splits > 1) add_splits();
      }
    }
  }

 private:
  struct Range {
    int64_t first, last;
    int64_t size() const { return last - first; }
  };

  struct Task {
    int64_t group, split;
    Range rows, columns;
    int64_t block_first, block_last;
    float* waiting;  // sums that wait for the next block
  };

  // Places in the operands. Rows are spread evenly over their panels.
  int64_t k_first(int64_t block) const { return block * plan_.block_steps * Kind::values; }
  int64_t k_last(int64_t block) const { return least(k_, k_first(block + 1)); }
  int64_t steps_of(int64_t block) const { return divide_up(k_last(block) - k_first(block), Kind::values); }
  int64_t row_of(int64_t row_panel) const { return m_ * row_panel / plan_.row_panels; }
  int64_t rows_of(int64_t row_panel) const { return row_of(row_panel + 1) - row_of(row_panel); }
  // A panel of a product with a gated linear unit is made of kLanes columns of gates and as many of the other half: columns are counted along a half then.
  int64_t width() const { return epilogue_.swiglu ? kLanes : kColumns; }
  int64_t columns() const { return epilogue_.swiglu ? n_ / 2 : n_; }
  int64_t column_of(int64_t panel) const { return (strip_ + panel) * width(); }
  int64_t columns_of(int64_t panel) const { return least(width(), columns() - column_of(panel)); }

  // An operand of a group, counted from the first at work; the first row of its result.
  Operand<T> of_group(const Operand<T>& x, int64_t group) const { return {x.data + (group_ + group) * x.size, x.stride, x.k_contiguous, x.size}; }
  int64_t first_row(int64_t group) const { return (group_ + group) * m_; }

  // Places in the shared operand, [group][block][panel][step][width], and in the sums of splits, [group][split][panel of the strip][row panel][kTile].
  uint32_t* shared_panel(int64_t group, int64_t block, int64_t panel, int64_t panels, int width) const {
    return shared_ + (group * plan_.steps * panels + block * plan_.block_steps * panels + panel * steps_of(block)) * width;
  }
  float* partial_tile(int64_t group, int64_t split, int64_t panel, int64_t row_panel) const {
    return partial_ + (((group * plan_.splits + split) * strip_panels_ + panel) * plan_.row_panels + row_panel) * kTile;
  }

  // What is not worth a second thread stays on this one.
  template <class Body> void each(int64_t tasks, const Body& body) {
    if (!plan_.small) return device_.each(tasks, body);
    for (int64_t task = 0; task < tasks; ++task) body(task, 0);
  }

  void pack_rows(int64_t group, int64_t block, Range rows, uint32_t* out) const {
    pack_panels<kRows>(of_group(a_, group), block, rows, out, [&](int64_t r, int64_t& first, int64_t& count) { first = row_of(r), count = rows_of(r); });
  }
  void pack_columns(int64_t group, int64_t block, Range columns, uint32_t* out) const {
    const auto place = [&](int64_t c, int64_t& first, int64_t& count) { first = column_of(c), count = columns_of(c); };
    if (!epilogue_.swiglu) return pack_panels<kColumns>(of_group(b_, group), block, columns, out, place);
    pack_panels<kLanes, kColumns>(of_group(b_, group), block, columns, out, place);
    pack_panels<kLanes, kColumns>(of_group(b_, group), block, columns, out + kLanes, [&](int64_t c, int64_t& first, int64_t& count) { place(c, first, count), first += n_ / 2; });
  }
  // Where k lies across rows of memory, a few rows at a time for all the panels: whole lines are read, and their pages looked up, once.
  template <int Width, int Stride = Width, class Place> void pack_panels(const Operand<T>& x, int64_t block, Range panels, uint32_t* out, const Place& place) const {
    constexpr int64_t kRead = (Width + kLanes - 1) / kLanes * kLanes;
    const int64_t steps = steps_of(block), at_once = x.k_contiguous ? steps : kAcrossSteps;
    for (int64_t p = 0; p < steps; p += at_once) {
      const int64_t from = k_first(block) + p * Kind::values, to = least(k_last(block), from + at_once * Kind::values);
      const bool whole = !x.k_contiguous && to - from == kAcrossSteps * Kind::values;
      for (int64_t i = panels.first; i < panels.last; ++i) {
        int64_t first, count;
        place(i, first, count);
        uint32_t* const panel = out + ((i - panels.first) * steps + p) * Stride;
        if (whole && (to - 1) * x.stride + first + kRead <= x.size) pack_across_steps<Kind, Width, Stride>(x.data + from * x.stride + first, x.stride, panel);
        else pack<Kind, Width, Stride>(x, first, count, from, to, panel);
      }
    }
  }

  void pack_a() {
    pack_shared(plan_.row_panels, kRows, [&](int64_t group, int64_t block, Range rows, uint32_t* out) { pack_rows(group, block, rows, out); });
  }
  void pack_strip_of_b() {
    pack_shared(strip_panels_, kColumns, [&](int64_t group, int64_t block, Range columns, uint32_t* out) { pack_columns(group, block, columns, out); });
  }
  template <class Pack> void pack_shared(int64_t panels, int width, const Pack& pack_range) {
    shared_ = static_cast<uint32_t*>(device_.shared_scratch(groups_here_ * plan_.steps * panels * width * 4, 2));
    const int64_t per_task = plan_.small ? panels : most(1, kPackingWords / (most(1, plan_.block_steps) * width)), tasks = divide_up(panels, per_task);
    each(groups_here_ * plan_.blocks * tasks, [&](int64_t task, int) {
      const int64_t group = task / (plan_.blocks * tasks), block = task / tasks % plan_.blocks, first = task % tasks * per_task;
      pack_range(group, block, {first, least(panels, first + per_task)}, shared_panel(group, block, first, panels, width));
    });
  }

  void multiply_strip() {
    if (plan_.splits > 1) partial_ = static_cast<float*>(device_.shared_scratch(groups_here_ * plan_.splits * strip_panels_ * plan_.row_panels * kTile * 4, 3));
    const int64_t down = divide_up(plan_.row_panels, plan_.task_rows), across = divide_up(strip_panels_, plan_.task_columns);
    each(groups_here_ * plan_.splits * down * across, [&](int64_t task, int thread) {
      Range r{task / across % down * plan_.task_rows, 0}, c{task % across * plan_.task_columns, 0};
      r.last = least(plan_.row_panels, r.first + plan_.task_rows), c.last = least(strip_panels_, c.first + plan_.task_columns);
      const int64_t group = task / (plan_.splits * down * across), split = task / (down * across) % plan_.splits;
      if (!plan_.share_a || plan_.deep) return multiply_block(thread, group, split, r, c);
      for (int64_t panel = c.first; panel < c.last; panel += plan_.own_columns) multiply_block(thread, group, split, r, {panel, least(c.last, panel + plan_.own_columns)});
    });
  }

  // One split of the tiles of some row panels and column panels. The operand that is shared is packed already, the other by each block; a deep product's are
  // both packed here.
  void multiply_block(int thread, int64_t group, int64_t split, Range rows, Range columns) {
    const int64_t per_split = divide_up(plan_.blocks, plan_.splits), block_first = split * per_split, block_last = least(plan_.blocks, block_first + per_split);
    Task task{group, split, rows, columns, block_first, block_last, nullptr};
    if (plan_.blocks > 1 && plan_.splits == 1) task.waiting = static_cast<float*>(device_.scratch(thread, rows.size() * columns.size() * kTile * 4, 3));
    const int64_t a_words = rows.size() * plan_.block_steps * kRows, b_words = columns.size() * plan_.block_steps * kColumns;
    if (plan_.deep) return multiply_deep(thread, task);
    auto* own = static_cast<uint32_t*>(device_.scratch(thread, (plan_.share_a ? b_words : a_words) * 4, 2));
    for (int64_t block = block_first; block < block_last; ++block) {
      Ahead ahead;
      const bool more = block + 1 < block_last;
      if (plan_.share_a) {
        pack_columns(group, block, columns, own);
        ahead.rows = more ? ahead_of_columns(group, block + 1, columns) : ahead_of_columns(group, block_first, {columns.last, columns.last + columns.size()});
        multiply_tiles(task, block, rows, columns, shared_panel(group, block, rows.first, plan_.row_panels, kRows), own, ahead);
      } else {
        pack_rows(group, block, rows, own);
        ahead.rows = more ? ahead_of_rows(group, block + 1, rows) : ahead_of_rows(group, block_first, {rows.last, rows.last + rows.size()});
        multiply_tiles(task, block, rows, columns, own, shared_panel(group, block, columns.first, strip_panels_, kColumns), ahead);
      }
    }
  }

  // Of a result that is small beside k: what is packed of a block stays in the second cache, and nothing is read or written in between. The narrower operand's
  // block is packed whole, the other's some panels at a time.
  void multiply_deep(int thread, const Task& task) {
    const auto [group, split, rows, columns, block_first, block_last, waiting] = task;
    const bool walk_rows = rows.size() * kRows <= columns.size() * kColumns;  // for each of some columns
    const int64_t a_words = (walk_rows ? rows.size() : least(rows.size(), plan_.own_rows)) * plan_.block_steps * kRows;
    const int64_t b_words = (walk_rows ? least(columns.size(), plan_.own_columns) : columns.size()) * plan_.block_steps * kColumns;
    auto* a = static_cast<uint32_t*>(device_.scratch(thread, (a_words + b_words) * 4, 2));
    uint32_t* b = a + a_words;
    for (int64_t block = block_first; block < block_last; ++block) {
      walk_rows ? pack_rows(group, block, rows, a) : pack_columns(group, block, columns, b);
      const Range all = walk_rows ? columns : rows;
      const int64_t at_once = walk_rows ? plan_.own_columns : plan_.own_rows;
      for (Range part{all.first, 0}; part.first < all.last; part.first = part.last) {
        part.last = least(all.last, part.first + at_once);
        walk_rows ? pack_columns(group, block, part, b) : pack_rows(group, block, part, a);
        Ahead ahead;
        const Range next = part.last < all.last ? Range{part.last, least(all.last, part.last + at_once)} : Range{all.first, all.first + part.size()};
        const int64_t next_block = part.last < all.last ? block : block + 1;
        ahead.rows = walk_rows ? ahead_of_columns(group, next_block, next) : ahead_of_rows(group, next_block, next);
        if (next_block > block) ahead.then = walk_rows ? ahead_of_rows(group, next_block, rows) : ahead_of_columns(group, next_block, columns);
        walk_rows ? multiply_tiles(task, block, rows, part, a, b, ahead) : multiply_tiles(task, block, part, columns, a, b, ahead);
      }
    }
  }

  // The tiles of some packed row panels a and column panels b, and of one block of k.
  void multiply_tiles(const Task& task, int64_t block, Range rows, Range columns, const uint32_t* a, const uint32_t* b, Ahead& ahead) {
    const int64_t steps = steps_of(block);
    const bool done = plan_.splits == 1 && block + 1 == task.block_last;
    const bool far = !plan_.share_a && !plan_.deep && columns.size() * steps * kColumns * 4 > kBlockBytes;
    alignas(64) float tile_here[kTile];
    for (int64_t c = columns.first; c < columns.last; ++c) {
      const int64_t column_count = columns_of(c), tile_columns = epilogue_.swiglu ? kColumns : column_count;
      const uint32_t* const b_panel = b + (c - columns.first) * steps * kColumns;
      if (far && c + 1 < columns.last) ahead.panel = {reinterpret_cast<const char*>(b_panel + steps * kColumns), steps * kColumns * 4 / 64};
      for (int64_t r = rows.first; r < rows.last; ++r) {
        const int64_t row_count = rows_of(r);
        float* tile = plan_.splits > 1 ? partial_tile(task.group, task.split, c, r)
                      : task.waiting   ? task.waiting + ((c - task.columns.first) * task.rows.size() + r - task.rows.first) * kTile
                                       : tile_here;
        const uint32_t* const a_panel = a + (r - rows.first) * steps * kRows;
        const bool add = block > task.block_first;
        if (task.waiting) ahead.after = ahead.panel, ahead.panel = {reinterpret_cast<const char*>(tile), kTile * 4 / 64};
        if (!done) {
          micro_kernel_for<Kind>(row_count, tile_columns)(steps, a_panel, b_panel, tile, add, ahead);
          continue;
        }
        const int64_t row = first_row(task.group) + row_of(r), column = column_of(c);
        ahead.result = lines_of(epilogue_, row, column, row_count, column_count);
        if (const auto kernel = finishing_kernel_for<Kind>(epilogue_, row_count, column_count)) {
          kernel(steps, a_panel, b_panel, add ? tile : nullptr, epilogue_, row, column, ahead);
        } else {
          micro_kernel_for<Kind>(row_count, tile_columns)(steps, a_panel, b_panel, tile, add, ahead);
          finish_tile(tile, row, column, row_count, column_count);
        }
      }
    }
  }

  // What will be packed of some row panels or column panels and a block of k, as far as there is such.
  Ahead::Rows ahead_of_rows(int64_t group, int64_t block, Range rows) const {
    return ahead_of(of_group(a_, group), block, row_of(least(rows.first, plan_.row_panels)), row_of(least(rows.last, plan_.row_panels)));
  }
  Ahead::Rows ahead_of_columns(int64_t group, int64_t block, Range columns) const {
    return ahead_of(of_group(b_, group), block, least(this->columns(), column_of(columns.first)), least(this->columns(), column_of(columns.last)));
  }
  Ahead::Rows ahead_of(const Operand<T>& x, int64_t block, int64_t first, int64_t last) const {
    if (block >= plan_.blocks || first >= last) return {};
    const int64_t k = k_last(block) - k_first(block), size = sizeof(T);
    return x.k_contiguous ? Ahead::Rows(x.data + first * x.stride + k_first(block), k * size, x.stride * size, last - first)
                          : Ahead::Rows(x.data + k_first(block) * x.stride + first, (last - first) * size, x.stride * size, k);
  }

  void finish_tile(const float* tile, int64_t row, int64_t column, int64_t rows, int64_t columns) const {
    if constexpr (sizeof(C) == 4)
      if (epilogue_.transposed) return finish_transposed(epilogue_, tile, row, column, rows, columns);
    epilogue_.swiglu || epilogue_.swiglu_of ? finish_gated(epilogue_, tile, row, column, rows, columns) : finish(epilogue_, tile, row, column, rows, columns);
  }

  void add_splits() {
    constexpr int64_t kTilesPerTask = 16;
    const int64_t tiles = groups_here_ * strip_panels_ * plan_.row_panels;
    each(divide_up(tiles, kTilesPerTask), [&](int64_t task, int) {
      for (int64_t i = task * kTilesPerTask; i < least(tiles, (task + 1) * kTilesPerTask); ++i) {
        const int64_t group = i / (strip_panels_ * plan_.row_panels), c = i / plan_.row_panels % strip_panels_, r = i % plan_.row_panels;
        float* sum = partial_tile(group, 0, c, r);
        for (int64_t split = 1; split < plan_.splits; ++split) {
          const float* other = partial_tile(group, split, c, r);
          for (int j = 0; j < kTile; ++j) sum[j] += other[j];
        }
        finish_tile(sum, first_row(group) + row_of(r), column_of(c), rows_of(r), columns_of(c));
      }
    });
  }

  Cpu& device_;
  const Operand<T> a_, b_;
  const int64_t groups_, m_, n_, k_;
  const Epilogue<C> epilogue_;
  const Plan plan_;
  int64_t group_ = 0, groups_here_ = 0;   // the groups at work
  int64_t strip_ = 0, strip_panels_ = 0;  // the columns at work, in panels
  uint32_t* shared_ = nullptr;
  float* partial_ = nullptr;
};

}  // namespace
}  // namespace nichelm
