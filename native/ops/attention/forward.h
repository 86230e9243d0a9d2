// One head's forward pass for a block of queries: keys are packed block by block, and kRows queries at a time go through score, online softmax and
// weighted sum in the nearest cache. Tiles that no query of theirs sees are skipped; hidden keys inside a tile have weight 0.
#pragma once
#include <cmath>

#include "ops/attention/pack.h"
#include "ops/attention/softmax.h"
#include "ops/attention/tile.h"

namespace nichelm {
namespace {

constexpr int64_t kQueries = 128, kKeys = 256;  // multiples of kPanel; a block of keys and one of values stay in the second-level cache

constexpr int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }
constexpr int64_t larger(int64_t a, int64_t b) { return a > b ? a : b; }

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
  float *scores, *sums, *top, *total;

  ForwardScratch(Pieces& pieces, const HeadSizes<T>& at)
      : queries(pieces.take<Word<T>>(kQueries * at.words)), keys(pieces.take<Word<T>>(kKeys * at.words)), values(pieces.take<Word<T>>(at.column_panels * kPanel * kKeys / kPack<T>)),
        weights(pieces.take<Word<T>>(kRows * kKeys / kPack<T>)), scores(pieces.take<float>(kRows * kKeys)), sums(pieces.take<float>(kQueries * at.padded)), top(pieces.take<float>(kQueries)),
        total(pieces.take<float>(kQueries)) {}
};

// At most kQueries queries, and the keys and values of their row; a stride is between neighbouring tokens. Query t is token q0 + t of the row.
template <class T> struct ForwardBlock {
  const T *queries, *keys, *values;  // of the block's first query, of the row's first token
  int64_t query_stride, key_stride;
  int64_t q0, count;
};

// Token i of the row sees the tokens starts[i] .. i. Calls finish(t, y, lse) for every query, y: d floats.
template <class T, class Starts, class Finish>
void forward_block(const HeadSizes<T>& at, const ForwardScratch<T>& my, const ForwardBlock<T>& block, const Starts& starts, const Finish& finish) {
  const int64_t q0 = block.q0, count = block.count;
  pack_by_columns(block.queries, block.query_stride, count, at.d, my.queries);
  for (int64_t t = 0; t < count; ++t) my.top[t] = -INFINITY, my.total[t] = 0;
  for (int64_t i = 0; i < up(count, kRows) * at.padded; ++i) my.sums[i] = 0;
  for (int64_t k0 = down(starts[q0], kPanel); k0 < q0 + count; k0 += kKeys) {
    const int64_t keys = smaller(kKeys, q0 + count - k0);
    pack_by_columns(block.keys + k0 * block.key_stride, block.key_stride, keys, at.d, my.keys);
    pack_by_rows(block.values + k0 * block.key_stride, block.key_stride, keys, at.d, kKeys, my.values);
    for (int64_t t = 0; t < count; t += kRows) {
      const int64_t rows = smaller(kRows, count - t);
      const int64_t from = larger(starts[q0 + t] - k0, 0), to = smaller(q0 + t + rows - k0, keys);  // what these rows see of the block
      if (from >= to) continue;
      const int64_t first = down(from, kLanes), last = up(to, kLanes);
      score_tile(my.queries + down(t, kPanel) * at.words + t % kPanel, my.keys, at.words, first, last, my.scores, kKeys);
      float factor[kRows] = {};
      for (int64_t m = 0; m < kRows; ++m) {
        Word<T>* weights = my.weights + m * kKeys / kPack<T>;
        if (m < rows) factor[m] = weigh(my.scores + m * kKeys, first, last, larger(starts[q0 + t + m] - k0, 0), smaller(q0 + t + m + 1 - k0, keys), at.scale, my.top[t + m], my.total[t + m], weights);
        else for (int64_t j = first; j < last; j += kLanes) store_row(weights, j, Vector{});
      }
      sum_tile<Into::scaled, kKeys / kPack<T>, 1>(my.weights + first / kPack<T>, my.values + first / kPack<T> * kPanel, kKeys / kPack<T> * kPanel, (up(to, kPack<T>) - first) / kPack<T>, at.padded,
                                                  my.sums + t * at.padded, factor);
    }
  }
  for (int64_t t = 0; t < count; ++t) {
    float* y = my.sums + t * at.padded;
    const float inverse = 1 / my.total[t];
    for (int64_t c = 0; c < at.d; ++c) y[c] *= inverse;
    finish(t, y, my.top[t] + std::log(my.total[t]));
  }
}

}  // namespace
}  // namespace nichelm
