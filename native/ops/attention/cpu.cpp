// CPU kernels. Forward: tasks are blocks of queries of a head (forward.h). Backward: tasks are key heads, so that the gradients of keys and values are
// summed in one order; weights are made again from lse, kRows queries at a time, then both kinds of sums are taken over a block.
// Tiles that no query of theirs sees are skipped; hidden keys inside a tile have weight 0. As in the forward pass, a head with a result that is not finite
// is done once more apart: every row of a sum over a copy of what it takes in, with 0 for all else.
#include <cmath>

#include "ops/attention/attention.h"
#include "ops/attention/forward.h"
#include "ops/attention/softmax.h"
#include "ops/attention/tile.h"
#include "runtime/bf16.h"
#include "runtime/cpu.h"

namespace nichelm {
namespace {

constexpr int64_t kGradientQueries = 64, kGradientKeys = 128;  // multiples of kPanel; a block of keys and one of values stay in the second-level cache

// The starts of a row, held to 0 <= starts[i] <= i: a caller's slip must not read out of bounds.
struct Starts {
  const int32_t* at;
  int64_t operator[](int64_t i) const { return smaller(larger(at[i], 0), i); }
};

// Where a head's vectors lie.
template <class T> struct Layout : HeadSizes<T> {
  int64_t length, heads, kv_heads, stride;

  template <class Op>
  explicit Layout(const Op& op) : HeadSizes<T>(op.head_width()), length(op.starts.width()), heads(op.heads), kv_heads(op.kv_heads), stride(op.qkv.width()) {}

  int64_t kv_head(int64_t head) const { return head / (heads / kv_heads); }
  int64_t query(int64_t row, int64_t token, int64_t head) const { return (row * length + token) * stride + head * this->d; }
  int64_t key(int64_t row, int64_t token, int64_t g) const { return query(row, token, heads + g); }
  int64_t value(int64_t row, int64_t token, int64_t g) const { return query(row, token, heads + kv_heads + g); }
  int64_t output(int64_t row, int64_t token, int64_t head) const { return ((row * length + token) * heads + head) * this->d; }
};

template <class T> void forward_of(const Attention& op, const Layout<T>& at, const ForwardScratch<T>& my, int64_t row, int64_t head, int64_t q0) {
  const T* qkv = op.qkv.as<T>();
  const int64_t g = at.kv_head(head), count = smaller(kQueries, at.length - q0);
  const Starts starts{op.starts.as<int32_t>() + row * at.length};
  const ForwardBlock<T> block{qkv + at.query(row, q0, head), qkv + at.key(row, 0, g), qkv + at.value(row, 0, g), at.stride, at.stride, q0, count};
  forward_block<T>(at, my, block, starts, [&](int64_t t, const float* y, float lse) {
    T* out = op.y.as<T>() + at.output(row, q0 + t, head);
    if (t + kRows < count) ask_for_row<Wanted::written>(out + kRows * at.heads * at.d, at.d);
    over_lanes(at.d, [&](int64_t c, auto lanes) NICHELM_INLINE_LAMBDA { store(load<Vector>(y + c), out + c, lanes); });
    op.lse.as<float>()[(row * at.heads + head) * at.length + q0 + t] = lse;
  });
}

template <class T> void forward(Cpu& device, const Attention& op) {
  const Layout<T> at(op);
  Pieces measure;
  ForwardScratch<T>(measure, at);
  const int64_t pairs = op.starts.rows() * at.heads, blocks = up(at.length, kQueries) / kQueries, bytes = measure.bytes();
  const QueryTasks tasks{pairs, blocks, device.threads()};
  device.each(pairs * blocks, [&](int64_t task, int thread) {
    Pieces pieces(device.scratch(thread, bytes));
    const ForwardScratch<T> my(pieces, at);
    const int64_t pair = tasks.pair(task);
    forward_of<T>(op, at, my, pair / at.heads, pair % at.heads, tasks.block(task) * kQueries);
  });
}

template <class T> struct BackwardScratch {
  Word<T>*keys, *values, *keys_by_rows;                                        // all of the row's
  float *dk, *dv;
  Word<T>*queries, *dys, *queries_by_rows, *dys_by_rows, *p, *ds, *ds_by_row;  // of a block
  float *dq, *scores, *dp, *lse, *delta, *apart;
  int64_t tokens;  // room for keys

  BackwardScratch(Pieces& pieces, const Layout<T>& at) : tokens(up(at.length, kPanel)) {
    const int64_t across = at.column_panels * kPanel / kPack<T>;
    keys = pieces.take<Word<T>>(tokens * at.words), values = pieces.take<Word<T>>(tokens * at.words), keys_by_rows = pieces.take<Word<T>>(tokens * across);
    dk = pieces.take<float>(tokens * at.padded), dv = pieces.take<float>(tokens * at.padded);
    queries = pieces.take<Word<T>>(kGradientQueries * at.words), dys = pieces.take<Word<T>>(kGradientQueries * at.words);
    queries_by_rows = pieces.take<Word<T>>(kGradientQueries * across), dys_by_rows = pieces.take<Word<T>>(kGradientQueries * across);
    p = pieces.take<Word<T>>(kGradientQueries * kGradientKeys / kPack<T>), ds = pieces.take<Word<T>>(kGradientQueries * kGradientKeys / kPack<T>);
    ds_by_row = pieces.take<Word<T>>(kRows * kGradientKeys / kPack<T>);
    dq = pieces.take<float>(kGradientQueries * at.padded), scores = pieces.take<float>(kRows * kGradientKeys), dp = pieces.take<float>(kRows * kGradientKeys);
    lse = pieces.take<float>(kGradientQueries), delta = pieces.take<float>(kGradientQueries), apart = pieces.take<float>(kRows * at.padded);
  }
};

// p = e^(s scale - lse), ds = p (dp - delta) scale, for two rows of scores, whose hidden scores are -inf; my.lse is counted in
// kPowers, my.delta holds scale delta. Apart: 0 in the hidden ones whatever lse, dp and delta are.
template <bool kApart, class T>
void weigh_gradient(const BackwardScratch<T>& my, int64_t t, int64_t m, int64_t first, int64_t last, float scale, const Seen* seen) {
  const float *s = my.scores + m * kGradientKeys, *dp = my.dp + m * kGradientKeys;
  const Vector scales = broadcast(scale), powers = broadcast(scale * kPowers<T>);
  const Vector lse[2] = {broadcast(my.lse[t + m]), broadcast(my.lse[t + m + 1])}, delta[2] = {broadcast(my.delta[t + m]), broadcast(my.delta[t + m + 1])};
  Word<T>* by_row = my.ds_by_row + m * kGradientKeys / kPack<T>;
  for (int64_t j = first; j < last; j += kLanes) {
    Vector p[2], ds[2];
    for (int64_t l = 0; l < 2; ++l) {
      p[l] = power_of<T>(load<Vector>(s + l * kGradientKeys + j) * powers - lse[l]);
      ds[l] = p[l] * (load<Vector>(dp + l * kGradientKeys + j) * scales - delta[l]);
      if constexpr (kApart) {
        const Integers visible = lanes_within(j, seen[m + l].from, seen[m + l].to);
        p[l] = reinterpret_cast<Vector>(reinterpret_cast<Integers>(p[l]) & visible), ds[l] = reinterpret_cast<Vector>(reinterpret_cast<Integers>(ds[l]) & visible);
      }
      if constexpr (kPack<T> != 1) store_row(by_row + l * kGradientKeys / kPack<T>, j, ds[l]);
    }
    store_two_rows(my.p, kGradientKeys, t + m, j, p[0], p[1]);
    store_two_rows(my.ds, kGradientKeys, t + m, j, ds[0], ds[1]);
  }
}

// A block of queries of a head, with what belongs to it, and the head's keys.
template <class T> struct BackwardBlock {
  const T *queries, *dys, *keys;  // of the block's first query, of the row's first token
  int64_t dy_stride, q0, count;
};

// Adds what the queries of the block and the keys [k0, k0 + kGradientKeys) give to dq, dk and dv.
template <bool kApart, class T> void backward_block(const Layout<T>& at, const BackwardScratch<T>& my, Starts starts, const BackwardBlock<T>& block, int64_t k0) {
  const int64_t q0 = block.q0, count = block.count;
  const int64_t keys = smaller(kGradientKeys, at.length - k0), key_panel = my.tokens / kPack<T> * kPanel, query_panel = kGradientQueries / kPack<T> * kPanel;
  for (int64_t t = 0; t < count; t += kRows) {
    const int64_t rows = smaller(kRows, count - t);
    const int64_t from = larger(starts[q0 + t] - k0, 0), to = smaller(q0 + t + rows - k0, keys);
    if (from >= to) continue;
    const int64_t first = down(from, kLanes), last = up(to, kLanes), of_tile = down(t, kPanel) * at.words + t % kPanel;
    score_tile(my.queries + of_tile, my.keys + k0 * at.words, at.words, first, last, my.scores, kGradientKeys);
    score_tile(my.dys + of_tile, my.values + k0 * at.words, at.words, first, last, my.dp, kGradientKeys);
    Seen seen[kRows];
    for (int64_t m = 0; m < kRows; ++m) {
      seen[m] = m < rows ? Seen{larger(starts[q0 + t + m] - k0, 0), smaller(q0 + t + m + 1 - k0, keys)} : Seen{last, last};
      hide(my.scores + m * kGradientKeys, first, last, seen[m]);
    }
    for (int64_t m = 0; m < kRows; m += 2) weigh_gradient<kApart>(my, t, m, first, last, at.scale, seen);
    const Word<T>* ds = kPack<T> == 1 ? my.ds + t * kGradientKeys : my.ds_by_row;
    const auto add = [&](int64_t end, float* dq) {
      sum_tile<Into::sum, kGradientKeys / kPack<T>, 1>(ds + first / kPack<T>, my.keys_by_rows + (k0 + first) / kPack<T> * kPanel, key_panel, (up(end, kPack<T>) - first) / kPack<T>, at.padded, dq);
    };
    if constexpr (!kApart) add(to, my.dq + t * at.padded);
    else
      for (int64_t m = 0; m < rows; ++m) {
        if (seen[m].from >= seen[m].to) continue;
        pack_by_rows(block.keys + k0 * at.stride, at.stride, seen[m].to, at.d, my.tokens, my.keys_by_rows + k0 / kPack<T> * kPanel, seen[m].from);
        one_row(my.apart, my.dq + t * at.padded, m, at.padded, [&](float* dq) { add(seen[m].to, dq); });
      }
  }
  for (int64_t j = 0; j < keys; j += kRows) {
    // Queries that see any of the keys [low, high]: none before the first, none of a document that begins after the last.
    const auto seeing = [&](int64_t low, int64_t high) {
      Seen queries{larger(low - q0, 0), count};
      while (queries.to > queries.from && starts[q0 + queries.to - 1] > high) --queries.to;
      return queries;
    };
    const int64_t rows = smaller(kRows, at.length - k0 - j);
    const Seen some = seeing(k0 + j, k0 + j + rows - 1);
    if (some.from >= some.to) continue;
    const auto add = [&](const Word<T>* weights, const Word<T>* by_rows, int64_t end, float* sums) {
      const int64_t first = some.from / kPack<T>;  // some.from is even
      sum_tile<Into::sum, 1, kGradientKeys>(weights + first * kGradientKeys + j, by_rows + first * kPanel, query_panel, up(end, kPack<T>) / kPack<T> - first, at.padded, sums);
    };
    float *dk = my.dk + (k0 + j) * at.padded, *dv = my.dv + (k0 + j) * at.padded;
    if constexpr (!kApart) add(my.p, my.dys_by_rows, some.to, dv), add(my.ds, my.queries_by_rows, some.to, dk);
    else
      for (int64_t m = 0; m < rows; ++m) {
        const Seen one = seeing(k0 + j + m, k0 + j + m);
        if (one.from >= one.to) continue;
        pack_by_rows(block.dys, block.dy_stride, one.to, at.d, kGradientQueries, my.dys_by_rows, one.from);
        pack_by_rows(block.queries, at.stride, one.to, at.d, kGradientQueries, my.queries_by_rows, one.from);
        one_row(my.apart, dv, m, at.padded, [&](float* sums) { add(my.p, my.dys_by_rows, one.to, sums); });
        one_row(my.apart, dk, m, at.padded, [&](float* sums) { add(my.ds, my.queries_by_rows, one.to, sums); });
      }
  }
}

// Whether all are finite.
template <class T> bool write(const float* x, int64_t rows, const Layout<T>& at, T* y) {
  Integers bad{};
  for (int64_t r = 0; r < rows; ++r) {
    if (r + kAhead < rows) ask_for_row<Wanted::written>(y + (r + kAhead) * at.stride, at.d);
    over_lanes(at.d, [&](int64_t c, auto lanes) NICHELM_INLINE_LAMBDA {
      const Vector some = load<Vector>(x + r * at.padded + c);
      bad |= not_finite(some);
      store(some, y + r * at.stride + c, lanes);
    });
  }
  return !any(bad);
}

// The gradients of a key head and of the query heads that share it. Whether all are finite.
template <bool kApart, class T> bool backward_head(const AttentionGradient& op, const Layout<T>& at, const BackwardScratch<T>& my, int64_t row, int64_t g) {
  const T *qkv = op.qkv.as<T>(), *keys = qkv + at.key(row, 0, g);
  T* dqkv = op.dqkv.as<T>();
  const Starts starts{op.starts.as<int32_t>() + row * at.length};
  const T* values = qkv + at.value(row, 0, g);
  ask_for_rows(values, at.stride, smaller(kAhead, at.length), at.d);
  pack_by_columns(keys, at.stride, at.length, at.d, my.keys);
  pack_by_columns(values, at.stride, at.length, at.d, my.values);
  if constexpr (!kApart) pack_by_rows(keys, at.stride, at.length, at.d, my.tokens, my.keys_by_rows);
  for (int64_t i = 0; i < my.tokens * at.padded; ++i) my.dk[i] = my.dv[i] = 0;
  const int64_t group = at.heads / at.kv_heads;
  bool finite = true;
  for (int64_t head = g * group; head < (g + 1) * group; ++head)
    for (int64_t q0 = 0; q0 < at.length; q0 += kGradientQueries) {
      const int64_t count = smaller(kGradientQueries, at.length - q0), width = at.heads * at.d;
      const T *q = qkv + at.query(row, q0, head), *dy = op.dy.as<T>() + at.output(row, q0, head), *y = op.y.as<T>() + at.output(row, q0, head);
      const float* lse = op.lse.as<float>() + (row * at.heads + head) * at.length + q0;
      pack_by_columns(q, at.stride, count, at.d, my.queries);
      pack_by_columns(dy, width, count, at.d, my.dys);
      if constexpr (!kApart) {
        pack_by_rows(q, at.stride, count, at.d, kGradientQueries, my.queries_by_rows);
        pack_by_rows(dy, width, count, at.d, kGradientQueries, my.dys_by_rows);
      }
      for (int64_t t = 0; t < up(count, kRows); ++t) {
        my.lse[t] = t < count ? lse[t] * kPowers<T> : 0;
        my.delta[t] = t < count ? dot(dy + t * width, y + t * width, at.d) * at.scale : 0;
      }
      for (int64_t i = 0; i < kGradientQueries * at.padded; ++i) my.dq[i] = 0;
      const int64_t next = smaller(kGradientQueries, at.length - q0 - count);
      ask_for_rows(q + count * at.stride, at.stride, next, at.d), ask_for_rows(dy + count * width, width, next, at.d), ask_for_rows(y + count * width, width, next, at.d);
      const BackwardBlock<T> block{q, dy, keys, width, q0, count};
      for (int64_t k0 = down(starts[q0], kGradientKeys); k0 < q0 + count; k0 += kGradientKeys) backward_block<kApart>(at, my, starts, block, k0);
      finite &= write(my.dq, count, at, dqkv + at.query(row, q0, head));
    }
  finite &= write(my.dk, at.length, at, dqkv + at.key(row, 0, g));
  return finite & write(my.dv, at.length, at, dqkv + at.value(row, 0, g));
}

template <class T> void backward(Cpu& device, const AttentionGradient& op) {
  const Layout<T> at(op);
  Pieces measure;
  BackwardScratch<T>(measure, at);
  const int64_t bytes = measure.bytes();
  device.each(op.starts.rows() * at.kv_heads, [&](int64_t task, int thread) {
    Pieces pieces(device.scratch(thread, bytes));
    const BackwardScratch<T> my(pieces, at);
    const int64_t row = task / at.kv_heads, g = task % at.kv_heads;
    if (!backward_head<false>(op, at, my, row, g)) backward_head<true>(op, at, my, row, g);
  });
}

}  // namespace

template <> void run(cpu::NICHELM_ISA& device, const Attention& op) { op.qkv.type == Type::bf16 ? forward<Bf16>(device, op) : forward<float>(device, op); }
template <> void run(cpu::NICHELM_ISA& device, const AttentionGradient& op) { op.qkv.type == Type::bf16 ? backward<Bf16>(device, op) : backward<float>(device, op); }

}  // namespace nichelm
