// CPU kernel: places over threads. The gradient sorts the places by the table row they read (a stable counting sort), then threads take
// table rows: each is summed by one thread, in the order of its places.
#include "ops/embedding/embedding.h"
#include "ops/small.h"
#include "runtime/cpu.h"
#include "runtime/lanes.h"

namespace nichelm {
namespace {

NICHELM_INLINE int64_t clamped(int64_t i, int64_t count) { return i < 0 ? 0 : i < count ? i : count - 1; }

template <class T> void embed(const Embedding& op, int64_t place) {
  const int64_t width = op.token_table.width(), length = op.tokens.width();
  const T* token = op.token_table.as<T>() + clamped(op.tokens.as<int32_t>()[place], op.token_table.rows()) * width;
  T* y = op.y.as<T>() + place * width;
  if (!op.position_table.present()) {
    std::memcpy(y, token, static_cast<size_t>(width) * sizeof(T));
    return;
  }
  const T* position = op.position_table.as<T>() + clamped(place % length - op.starts.as<int32_t>()[place], op.position_table.rows()) * width;
  over_lanes(width, [&](int64_t i, auto lanes) NICHELM_INLINE_LAMBDA { store(load(token + i, lanes) + load(position + i, lanes), y + i, lanes); });
}

template <class T> void embedding(Cpu& device, const Embedding& op) {
  split_elements(device, op.tokens.size(), op.y.size(), [&](int64_t first, int64_t last) {
    for (int64_t place = first; place < last; ++place) embed<T>(op, place);
  });
}

// The first i with sorted[i] >= value.
int64_t first_at_least(const int32_t* sorted, int64_t count, int64_t value) {
  int64_t low = 0, high = count;
  while (low < high) {
    const int64_t middle = (low + high) / 2;
    sorted[middle] < value ? low = middle + 1 : high = middle;
  }
  return low;
}

// table[row_of(place)] += dy[place] for every place whose row is in the table.
template <class T, class RowOf> void scatter_add(Cpu& device, const Tensor& dy, const Tensor& table, const RowOf& row_of) {
  const int64_t places = dy.rows(), width = dy.width(), rows = table.rows();
  int32_t* ends = static_cast<int32_t*>(device.shared_scratch((rows + 2 + places) * 4));
  int32_t* order = ends + rows + 2;
  std::memset(ends, 0, static_cast<size_t>(rows + 2) * 4);
  for (int64_t place = 0; place < places; ++place)
    if (const int64_t row = row_of(place); row >= 0 && row < rows) ++ends[row + 2];
  for (int64_t row = 1; row < rows + 2; ++row) ends[row] += ends[row - 1];
  for (int64_t place = 0; place < places; ++place)
    if (const int64_t row = row_of(place); row >= 0 && row < rows) order[ends[row + 1]++] = static_cast<int32_t>(place);
  // Now the places of a row are order[ends[row]] .. order[ends[row + 1] - 1].
  const int64_t valid = ends[rows], tasks = 64;
  device.each(tasks, [&](int64_t task, int) {
    const int64_t first = first_at_least(ends, rows, valid * task / tasks), last = task + 1 < tasks ? first_at_least(ends, rows, valid * (task + 1) / tasks) : rows;
    for (int64_t row = first; row < last; ++row)
      for (int64_t i = ends[row]; i < ends[row + 1]; ++i) {
        const T* from = dy.as<T>() + order[i] * width;
        float* to = table.as<float>() + row * width;
        over_lanes(width, [&](int64_t c, auto lanes) NICHELM_INLINE_LAMBDA { store(load(to + c, lanes) + load(from + c, lanes), to + c, lanes); });
      }
  });
}

template <class T> void embedding_gradient(Cpu& device, const EmbeddingGradient& op) {
  const int32_t *tokens = op.tokens.as<int32_t>(), *starts = op.starts.as<int32_t>();
  const int64_t length = op.tokens.width();
  if (op.dtoken_table.present()) scatter_add<T>(device, op.dy, op.dtoken_table, [&](int64_t place) { return int64_t{tokens[place]}; });
  if (op.dposition_table.present()) scatter_add<T>(device, op.dy, op.dposition_table, [&](int64_t place) { return place % length - starts[place]; });
}

}  // namespace

template <> void run(cpu::NICHELM_ISA& device, const Embedding& op) {
  op.token_table.type == Type::bf16 ? embedding<Bf16>(device, op) : embedding<float>(device, op);
}
template <> void run(cpu::NICHELM_ISA& device, const EmbeddingGradient& op) {
  op.dy.type == Type::bf16 ? embedding_gradient<Bf16>(device, op) : embedding_gradient<float>(device, op);
}

}  // namespace nichelm
