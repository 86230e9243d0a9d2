// CPU kernels. Rows of few new tokens (decode.h): a task is a row's key head, with the queries that share it. Rows of many: their keys and values are added
// first, then blocks of queries of a head go the way of attention's forward pass (attention/forward.h), with the cache for keys and values.
#include "ops/attention/forward.h"
#include "ops/cached_attention/cached_attention.h"
#include "ops/cached_attention/decode.h"
#include "runtime/bf16.h"
#include "runtime/cpu.h"

namespace nichelm {
namespace {

template <class T> struct Layout : HeadSizes<T> {
  const CachedAttention& op;
  int64_t length, width, capacity;

  explicit Layout(const CachedAttention& op) : HeadSizes<T>(op.head_width()), op(op), length(op.length()), width(op.qkv.width()), capacity(op.capacity()) {}

  // The slot of a row, or -1; a caller's slip must not write out of bounds.
  int64_t slot(int64_t row) const {
    const int64_t s = op.slots.as<int32_t>()[row];
    return s < op.keys.shape[0] && first(row) >= 0 ? s : -1;
  }
  int64_t first(int64_t row) const { return op.cached.as<int32_t>()[row]; }
  int64_t stored(int64_t row) const {  // of the row's new tokens
    return slot(row) < 0 ? 0 : larger(smaller(length, capacity - first(row)), 0);
  }
  const T* head(int64_t row, int64_t t, int64_t h) const { return op.qkv.as<T>() + (row * length + t) * width + h * this->d; }
  T* cache(const Tensor& which, int64_t row, int64_t g, int64_t place) const { return which.as<T>() + ((slot(row) * op.kv_heads + g) * capacity + place) * this->d; }
  T* output(int64_t row, int64_t t, int64_t h) const { return op.y.as<T>() + ((row * length + t) * op.heads + h) * this->d; }

  void add(int64_t row, int64_t g) const {
    const size_t bytes = static_cast<size_t>(this->d) * sizeof(T);
    for (int64_t t = 0; t < stored(row); ++t) {
      std::memcpy(cache(op.keys, row, g, first(row) + t), head(row, t, op.heads + g), bytes);
      std::memcpy(cache(op.values, row, g, first(row) + t), head(row, t, op.heads + op.kv_heads + g), bytes);
    }
  }
  // The outputs of a head's tokens that are not computed.
  void clear(int64_t row, int64_t h) const {
    for (int64_t t = stored(row); t < length; ++t) std::memset(output(row, t, h), 0, static_cast<size_t>(this->d) * sizeof(T));
  }
};

template <class T> void decode_head(const Layout<T>& at, int64_t row, int64_t h, Word<T>* query, float* scores, float* sums) {
  const int64_t g = h / (at.op.heads / at.op.kv_heads);
  for (int64_t t = 0; t < at.stored(row); ++t) {
    const int64_t visible = at.first(row) + t + 1;
    const T* q = at.head(row, t, h);
    for (int64_t w = 0; w < at.words; w += kLanes) store(query + w, row_words(q, at.d, w));
    score_keys(query, at.cache(at.op.keys, row, g, 0), at.d, visible, scores);
    soften(scores, visible, at.scale);
    sum_values(scores, at.cache(at.op.values, row, g, 0), at.d, visible, sums);
    T* y = at.output(row, t, h);
    for (int64_t c = 0; c < at.d; ++c) narrow(sums[c], y[c]);
  }
  at.clear(row, h);
}

template <class T> void decode(Cpu& device, const Layout<T>& at) {
  const auto take = [&](Pieces& pieces, Word<T>*& query, float*& scores, float*& sums) {
    query = pieces.take<Word<T>>(up(at.words, kLanes)), scores = pieces.take<float>(up(at.capacity, kLanes)), sums = pieces.take<float>(at.padded);
  };
  Word<T>* query;
  float *scores, *sums;
  Pieces measure;
  take(measure, query, scores, sums);
  const int64_t bytes = measure.bytes(), group = at.op.heads / at.op.kv_heads;
  device.each(at.op.rows() * at.op.kv_heads, [&](int64_t task, int thread) {
    Pieces pieces(device.scratch(thread, bytes));
    Word<T>* my_query;
    float *my_scores, *my_sums;
    take(pieces, my_query, my_scores, my_sums);
    const int64_t row = task / at.op.kv_heads, g = task % at.op.kv_heads;
    at.add(row, g);
    for (int64_t h = g * group; h < (g + 1) * group; ++h) decode_head(at, row, h, my_query, my_scores, my_sums);
  });
}

struct FromTheFirst {  // every token sees its sequence from the first one on
  int64_t operator[](int64_t) const { return 0; }
};

template <class T> void prefill(Cpu& device, const Layout<T>& at) {
  const CachedAttention& op = at.op;
  device.each(op.rows() * op.kv_heads, [&](int64_t task, int) { at.add(task / op.kv_heads, task % op.kv_heads); });
  Pieces measure;
  ForwardScratch<T>(measure, at);
  const int64_t pairs = op.rows() * op.heads, blocks = up(at.length, kQueries) / kQueries, bytes = measure.bytes();
  // The last queries see the most keys: they go first, so that threads end together.
  device.each(pairs * blocks, [&](int64_t task, int thread) {
    const int64_t row = task % pairs / op.heads, h = task % pairs % op.heads, t0 = (blocks - 1 - task / pairs) * kQueries, g = h / (op.heads / op.kv_heads);
    if (t0 == 0) at.clear(row, h);
    const int64_t count = smaller(kQueries, at.stored(row) - t0);
    if (count <= 0) return;
    Pieces pieces(device.scratch(thread, bytes));
    const ForwardScratch<T> my(pieces, at);
    const ForwardBlock<T> block{at.head(row, t0, h), at.cache(op.keys, row, g, 0), at.cache(op.values, row, g, 0), at.width, at.d, at.first(row) + t0, count};
    forward_block<T>(at, my, block, FromTheFirst{}, [&](int64_t t, const float* y, float) {
      T* out = at.output(row, t0 + t, h);
      for (int64_t c = 0; c < at.d; ++c) narrow(y[c], out[c]);
    });
  });
}

template <class T> void attend(Cpu& device, const CachedAttention& op) {
  const Layout<T> at(op);
  at.length < kRows ? decode(device, at) : prefill(device, at);
}

}  // namespace

template <> void run(cpu::NICHELM_ISA& device, const CachedAttention& op) { op.qkv.type == Type::bf16 ? attend<Bf16>(device, op) : attend<float>(device, op); }

}  // namespace nichelm
