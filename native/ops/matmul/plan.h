// How a product is cut. k is cut into blocks and, where the result has too few tiles for many threads, into splits of blocks that are summed in order
// at the end. Both depend on the shape alone, so that the results are the same bits with any number of threads; the cuts along m and n, which may
// follow the number of threads, do not change what an element computes.
#pragma once
#include "ops/matmul/micro_kernel.h"

namespace nichelm {
namespace {

constexpr int64_t kBlockSteps = 512;                  // of k in a packed block, in words
constexpr int64_t kDeepSteps = 256;                   // likewise, where the product is deep: two blocks' operands stay in the second cache
constexpr int64_t kBlockBytes = 256 << 10;            // of a, packed by a task: part of the second cache
constexpr int64_t kSharedBlockBytes = 5 << 18;        // of a shared a in one block of k, 512 rows: it is walked through for every panel of b
constexpr int64_t kPackedBytes = int64_t{32} << 20;   // of the shared operand at a time
constexpr int64_t kGroupedBytes = int64_t{8} << 20;   // of the shared operands of groups that are done at once
constexpr int64_t kPartialBytes = int64_t{32} << 20;  // of the sums of splits
constexpr int64_t kDeepBytes = 512 << 10;             // of the narrower operand in one block, where the product is deep
constexpr int64_t kDeepOwnBytes = 150 << 10;          // of the wider one that is packed at a time: ten panels of rows
constexpr int64_t kDeepResult = 2 << 20;              // bytes of a deep product's result, at most
constexpr int64_t kPackingWords = 32768;              // that one task packs
constexpr int64_t kThreadShare = 1 << 22;             // multiplications of a thread, beside which it is nothing to call it
constexpr int64_t kSmall = 1 << 18;                   // multiplications that one thread does before another has woken up

NICHELM_INLINE int64_t divide_up(int64_t x, int64_t y) { return (x + y - 1) / y; }
NICHELM_INLINE int64_t least(int64_t x, int64_t y) { return x < y ? x : y; }
NICHELM_INLINE int64_t most(int64_t x, int64_t y) { return x > y ? x : y; }

// The most of `all`, but not more than `fitting`, by which no last share is much smaller than the others.
NICHELM_INLINE int64_t even_share(int64_t all, int64_t fitting) { return divide_up(all, divide_up(all, most(1, fitting))); }

// Panels are at most kRows rows of a, or kColumns columns of b.
struct Plan {
  int64_t groups;                     // at once
  int64_t steps;                      // words along k
  int64_t blocks, block_steps;        // along k
  int64_t splits;                     // of the blocks
  int64_t row_panels, column_panels;  // of the whole product
  int64_t strip_panels;               // of columns at a time
  int64_t task_rows, task_columns;    // panels of one task
  int64_t own_columns;                // panels of b that a task packs at a time, where a is shared: long pieces of its rows are read then
  int64_t own_rows;                   // panels of a, likewise, in a deep product
  bool deep;                          // the result is small beside k: nothing is shared, tasks pack both operands block by block
  bool share_a;                       // a is packed first, b by the tasks; else the other way round
  bool small;                         // not worth a second thread
};

// Whether a result is so small beside k (in words) that tasks pack both operands.
NICHELM_INLINE bool deep_shape(int64_t m, int64_t n, int64_t steps) { return steps >= 4 * kBlockSteps && least(m, n) * 4 * kDeepSteps <= kDeepBytes && 4 * m * n <= kDeepResult; }

// Parts that each of some tasks is cut into, so that there is work for all threads: the least number by which each has as many parts as the others, if a few
// are enough for that. Each part packs what is common to a task's parts again.
NICHELM_INLINE int64_t even_parts(int64_t tasks, int64_t threads) {
  const int64_t least_parts = divide_up(threads, tasks), most_parts = 4 * least_parts;
  for (int64_t parts = least_parts; parts < most_parts; ++parts)
    if (tasks * parts % threads == 0) return parts;
  return most_parts;
}

NICHELM_INLINE Plan plan_product(int64_t groups, int64_t m, int64_t n, int64_t k, int values, int threads) {
  Plan plan;
  plan.steps = divide_up(k, values);
  const bool deep = deep_shape(m, n, plan.steps);
  plan.blocks = most(1, divide_up(plan.steps, deep ? kDeepSteps : kBlockSteps));
  plan.block_steps = divide_up(plan.steps, plan.blocks);
  if (plan.steps) plan.blocks = divide_up(plan.steps, plan.block_steps);
  plan.row_panels = divide_up(m, kRows);
  plan.column_panels = divide_up(n, kColumns);
  plan.small = groups * m * n * most(1, k) <= kSmall;

  const int64_t large_tiles = divide_up(m, 112) * divide_up(n, 256);
  plan.splits = most(1, least(16 / large_tiles, least(plan.blocks, kPartialBytes / (4 * m * n))));
  plan.splits = divide_up(plan.blocks, divide_up(plan.blocks, plan.splits));

  const int64_t row_panel_bytes = 4 * kRows * most(1, plan.block_steps);
  plan.share_a = m <= n && plan.row_panels * row_panel_bytes <= kSharedBlockBytes && plan.row_panels * row_panel_bytes * plan.blocks <= kPackedBytes;
  plan.strip_panels = plan.share_a ? plan.column_panels : least(plan.column_panels, most(1, kPackedBytes / (4 * kColumns * most(1, plan.steps))));
  plan.task_rows = plan.share_a ? plan.row_panels : least(plan.row_panels, most(1, kBlockBytes / row_panel_bytes));
  plan.task_columns = plan.strip_panels;
  plan.own_columns = most(1, kBlockBytes / (4 * kColumns * most(1, plan.block_steps)));
  plan.own_rows = most(1, kBlockBytes / row_panel_bytes);
  const int64_t shared_bytes = 4 * most(1, plan.steps) * (plan.share_a ? plan.row_panels * kRows : plan.strip_panels * kColumns);
  const int64_t partial_bytes = plan.splits > 1 ? 4 * plan.splits * plan.strip_panels * plan.row_panels * kTile : 1;
  plan.groups = least(groups, most(1, least(kGroupedBytes / shared_bytes, kPartialBytes / partial_bytes)));
  // No more than threads need: what one group has packed is still in the cache when it is multiplied.
  if (!plan.small) plan.groups = least(plan.groups, divide_up(kThreadShare * threads, m * n * most(1, k)));
  if (plan.small) plan.task_rows = plan.row_panels;

  const int64_t tasks = plan.groups * plan.splits, parts = even_parts(tasks, threads);
  plan.deep = deep && !plan.small && divide_up(threads, tasks) <= 2;
  if (plan.deep) {
    plan.strip_panels = plan.column_panels;
    plan.task_rows = m > n ? divide_up(plan.row_panels, parts) : plan.row_panels;
    plan.task_columns = m > n ? plan.column_panels : divide_up(plan.column_panels, parts);
    plan.own_rows = even_share(plan.task_rows, kDeepOwnBytes / row_panel_bytes);
    plan.own_columns = even_share(plan.task_columns, kDeepOwnBytes / (4 * kColumns * plan.block_steps));
    return plan;
  }
  if (threads == 1 || plan.small) return plan;

  // Several tasks a thread, so that none waits long for the last; first along the operand that tasks pack themselves, which costs nothing.
  const int64_t alike = plan.groups * plan.splits, wanted = divide_up(4 * int64_t{threads}, alike), enough = divide_up(2 * int64_t{threads}, alike);
  if (plan.share_a) {
    plan.task_columns = divide_up(plan.strip_panels, wanted);
    const int64_t tasks = divide_up(plan.strip_panels, plan.task_columns);
    if (tasks < enough) plan.task_rows = most(4, divide_up(plan.row_panels, divide_up(enough, tasks)));
  } else {
    plan.task_rows = least(plan.task_rows, most(4, divide_up(plan.row_panels, wanted)));
    const int64_t tasks = divide_up(plan.row_panels, plan.task_rows);
    if (tasks < enough) plan.task_columns = divide_up(plan.strip_panels, divide_up(enough, tasks));
  }
  return plan;
}

}  // namespace
}  // namespace nichelm
