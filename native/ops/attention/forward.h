// One head's forward pass for a block of queries: keys are packed block by block, and kRows queries at a time go through score, online softmax and
// weighted sum in the nearest cache. Tiles that no query of theirs sees are skipped; hidden keys inside a tile have weight 0.
// 0 times an infinite or NaN value is NaN, in queries that must not see it: so where a result is not finite, the block is done once more with the queries
// apart, each over a copy of the values that holds 0 where it sees none. What was finite keeps its bits.
#pragma once
#include <cmath>

#include "ops/attention/pack.h"
#include "ops/attention/softmax.h"
#include "ops/attention/tile.h"

namespace nichelm {
namespace {

constexpr int64_t kQueries = 128, kKeys = 256;  // multiples of kPanel; a block of keys and one of values stay in the second-level cache

// Hands out pieces of a scratch buffer, each on a cache line of its own; without a buffer it only measures.
class Pieces {
 public:
  explicit Pieces(void* buffer = nullptr) : buffer_(static_cast<char*>(buffer)) {}
  template <class X> X* take(int64_t count) {
    char* piece = buffer_ ? buffer_ + bytes_ : nullptr;
    bytes_ += up(count * int64_t{sizeof(X)}, 64);
    return reinterpret_cast<X*>(piece);
  }
  int64_t bytes() const { return bytes_; }

 private:
  char* buffer_;
  int64_t bytes_ = 0;
};

template <class T> struct HeadSizes {
  int64_t d, words, padded;  // of a head: its width, in words, and rounded up to vectors
  int64_t column_panels;     // panels of a head's width
  float scale;

  explicit HeadSizes(int64_t width)
      : d(width), words(up(d, kPack<T>) / kPack<T>), padded(up(d, kLanes)), column_panels(up(d, kPanel) / kPanel), scale(1 / std::sqrt(static_cast<float>(d))) {}
};

template <class T> struct ForwardScratch {
  Word<T>*queries, *keys, *values, *weights;
  float *scores, *sums, *apart, *top, *total;

  ForwardScratch(Pieces& pieces, const HeadSizes<T>& at)
      : queries(pieces.take<Word<T>>(kQueries * at.words)), keys(pieces.take<Word<T>>(kKeys * at.words)), values(pieces.take<Word<T>>(at.column_panels * kPanel * kKeys / kPack<T>)),
        weights(pieces.take<Word<T>>(kRows * kKeys / kPack<T>)), scores(pieces.take<float>(kRows * kKeys)), sums(pieces.take<float>(kQueries * at.padded)),
        apart(pieces.take<float>(kRows * at.padded)), top(pieces.take<float>(kQueries)), total(pieces.take<float>(kQueries)) {}
};

// Tasks are blocks of queries of pairs of a row and a head. The last queries see the most keys: they go first, so that threads end together. Where there are enough
// pairs each thread has whole ones, of rows that the other ops of a step give it too.
struct QueryTasks {
  int64_t pairs, blocks, threads;
  bool by_pairs() const { return pairs >= threads; }
  int64_t pair(int64_t task) const { return by_pairs() ? task / blocks : task % pairs; }
  int64_t block(int64_t task) const { return blocks - 1 - (by_pairs() ? task % blocks : task / pairs); }
};

// At most kQueries queries, and the keys and values of their row; a stride is between neighbouring tokens. Query t is token q0 + t of the row.
template <class T> struct ForwardBlock {
  const T *queries, *keys, *values;  // of the block's first query, of the row's first token
  int64_t query_stride, key_stride;
  int64_t q0, count;
};

// Row m of c (+)= row m of the product that `product` adds to kRows rows of c, and no other row.
template <class Product> void one_row(float* apart, float* c, int64_t m, int64_t width, const Product& product) {
  std::memcpy(apart + m * width, c + m * width, static_cast<size_t>(width) * sizeof(float));
  product(apart);
  std::memcpy(c + m * width, apart + m * width, static_cast<size_t>(width) * sizeof(float));
}

// The weighted sums of the values, with the greatest score and the total of the weights.
template <bool kApart, class T, class Starts> void weighted_sums(const HeadSizes<T>& at, const ForwardScratch<T>& my, const ForwardBlock<T>& block, const Starts& starts) {
  const int64_t q0 = block.q0, count = block.count;
  for (int64_t t = 0; t < up(count, kRows); ++t) my.top[t] = -INFINITY, my.total[t] = 0;
  for (int64_t i = 0; i < up(count, kRows) * at.padded; ++i) my.sums[i] = 0;
  for (int64_t k0 = down(starts[q0], kPanel); k0 < q0 + count; k0 += kKeys) {
    const int64_t keys = smaller(kKeys, q0 + count - k0);
    const T* values = block.values + k0 * block.key_stride;
    ask_for_rows(values, block.key_stride, smaller(kAhead, keys), at.d);
    pack_by_columns(block.keys + k0 * block.key_stride, block.key_stride, keys, at.d, my.keys);
    if constexpr (!kApart) pack_by_rows(values, block.key_stride, keys, at.d, kKeys, my.values);
    for (int64_t t = 0; t < count; t += kRows) {
      const int64_t rows = smaller(kRows, count - t);
      const auto seen_from = [&](int64_t m) { return larger(starts[q0 + t + m] - k0, 0); };
      const auto seen_to = [&](int64_t m) { return smaller(q0 + t + m + 1 - k0, keys); };
      const int64_t from = seen_from(0), to = seen_to(rows - 1);  // what these rows see of the block
      if (from >= to) continue;
      const int64_t first = down(from, kLanes), last = up(to, kLanes);
      score_tile(my.queries + down(t, kPanel) * at.words + t % kPanel, my.keys, at.words, first, last, my.scores, kKeys);
      Seen seen[kRows];
      for (int64_t m = 0; m < kRows; ++m) seen[m] = m < rows ? Seen{seen_from(m), seen_to(m)} : Seen{last, last};
      float factor[kRows];
      weigh<T>(my.scores, kKeys, first, last, seen, at.scale, my.top + t, my.total + t, my.weights, factor);
      const auto add = [&](int64_t end, float* sums) {
        sum_tile<Into::scaled, kKeys / kPack<T>, 1>(my.weights + first / kPack<T>, my.values + first / kPack<T> * kPanel, kKeys / kPack<T> * kPanel, (up(end, kPack<T>) - first) / kPack<T>, at.padded,
                                                    sums, factor);
      };
      if constexpr (!kApart) add(to, my.sums + t * at.padded);
      else
        for (int64_t m = 0; m < rows; ++m) {
          if (seen_from(m) >= seen_to(m)) continue;
          pack_by_rows(values, block.key_stride, seen_to(m), at.d, kKeys, my.values, seen_from(m));
          one_row(my.apart, my.sums + t * at.padded, m, at.padded, [&](float* sums) { add(seen_to(m), sums); });
        }
    }
  }
}

// Sums to means. Whether all of them are finite.
template <class T> bool divide_sums(const HeadSizes<T>& at, const ForwardScratch<T>& my, int64_t count) {
  Integers bad{};
  for (int64_t t = 0; t < count; ++t) {
    const Vector inverse = broadcast(1 / my.total[t]);
    for (float* y = my.sums + t * at.padded; y < my.sums + (t + 1) * at.padded; y += kLanes) {
      const Vector mean = load<Vector>(y) * inverse;
      store(y, mean);
      bad |= not_finite(mean);
    }
  }
  return !any(bad);
}

// Token i of the row sees the tokens starts[i] .. i. Calls finish(t, y, lse) for every query, y: d floats.
template <class T, class Starts, class Finish>
void forward_block(const HeadSizes<T>& at, const ForwardScratch<T>& my, const ForwardBlock<T>& block, const Starts& starts, const Finish& finish) {
  const int64_t k0 = down(starts[block.q0], kPanel);
  ask_for_rows(block.keys + k0 * block.key_stride, block.key_stride, smaller(kAhead, block.q0 + block.count - k0), at.d);
  pack_by_columns(block.queries, block.query_stride, block.count, at.d, my.queries);
  weighted_sums<false>(at, my, block, starts);
  if (!divide_sums(at, my, block.count)) {
    weighted_sums<true>(at, my, block, starts);
    divide_sums(at, my, block.count);
  }
  for (int64_t t = 0; t < block.count; ++t) finish(t, my.sums + t * at.padded, my.top[t] / kPowers<T> + std::log(my.total[t]));
}

}  // namespace
}  // namespace nichelm
