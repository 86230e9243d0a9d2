// CPU kernels. Rows of few new tokens (decode.h): a task is a row's key head, with the queries that share it. Rows of many: their keys and values are added
// first, then blocks of queries of a head go the way of attention's forward pass (attention/forward.h), with the cache for keys and values.
#include "ops/attention/forward.h"
#include "ops/cached_attention/cached_attention.h"
#include "ops/cached_attention/decode.h"
#include "ops/small.h"
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

template <class T> struct DecodeScratch {
  int64_t query_words, stride;
  Word<T>* queries;
  float *scores, *sums;

  DecodeScratch(Pieces& pieces, const Layout<T>& at, int64_t group)
      : query_words(up(at.words, kLanes)), stride(up(at.capacity, kLanes)), queries(pieces.take<Word<T>>(group * query_words)), scores(pieces.take<float>(group * stride)),
        sums(pieces.take<float>(2 * group * at.padded)) {}
};

template <class T> void decode_group(const Layout<T>& at, const DecodeScratch<T>& my, int64_t row, int64_t g, int64_t group) {
  at.add(row, g);
  for (int64_t t = 0; t < at.stored(row); ++t) {
    const int64_t visible = at.first(row) + t + 1;
    for (int64_t h = 0; h < group; ++h)
      for (int64_t w = 0; w < at.words; w += kLanes) store(my.queries + h * my.query_words + w, row_words(at.head(row, t, g * group + h), at.d, w));
    const T *keys = at.cache(at.op.keys, row, g, 0), *values = at.cache(at.op.values, row, g, 0);
    score_keys<T>(my.queries, my.query_words, group, keys, at.d, visible, my.scores, my.stride);
    for (int64_t h = 0; h < group; ++h) soften(my.scores + h * my.stride, visible, at.scale);
    sum_values<T>(my.scores, my.stride, group, values, at.d, visible, my.sums, at.padded);
    for (int64_t h = 0; h < group; ++h) {
      T* y = at.output(row, t, g * group + h);
      for (int64_t c = 0; c < at.d; ++c) narrow(my.sums[2 * h * at.padded + c], y[c]);
    }
  }
  for (int64_t h = 0; h < group; ++h) at.clear(row, g * group + h);
}

template <class T> void decode(Cpu& device, const Layout<T>& at) {
  const int64_t kv_heads = at.op.kv_heads, group = at.op.heads / kv_heads;
  Pieces measure;
  DecodeScratch<T>(measure, at, group);
  const int64_t bytes = measure.bytes();
  int64_t elements = 0;
  for (int64_t row = 0; row < at.op.rows(); ++row)
    if (at.stored(row) > 0) elements += at.length * (at.first(row) + at.length) * at.op.heads * at.d;
  const auto body = [&](int64_t task, int thread) {
    Pieces pieces(device.scratch(thread, bytes));
    decode_group(at, DecodeScratch<T>(pieces, at, group), task / kv_heads, task % kv_heads, group);
  };
  if (elements > 2 * kSmallElements) return device.each(at.op.rows() * kv_heads, body);
  for (int64_t task = 0; task < at.op.rows() * kv_heads; ++task) body(task, 0);
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
  const QueryTasks tasks{pairs, blocks, device.threads()};
  device.each(pairs * blocks, [&](int64_t task, int thread) {
    const int64_t pair = tasks.pair(task), row = pair / op.heads, h = pair % op.heads, t0 = tasks.block(task) * kQueries, g = h / (op.heads / op.kv_heads);
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
