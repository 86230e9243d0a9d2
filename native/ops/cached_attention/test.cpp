// cached_attention against the double reference and against attention of the whole sequence: many and few new tokens, rows of different lengths, grouped heads,
// both types, every device.
#include <algorithm>
#include <cmath>
#include <cstring>

#include "ops/attention/attention.h"
#include "ops/cached_attention/cached_attention.h"
#include "test/devices.h"
#include "test/operand.h"

using namespace nichelm;
using namespace nichelm::test;

namespace {

struct Case {
  int64_t length, heads, kv_heads, d, slots, capacity;
  std::vector<int32_t> slot, cached;  // of each row

  int64_t rows() const { return static_cast<int64_t>(slot.size()); }
  int64_t width() const { return (heads + 2 * kv_heads) * d; }
  std::vector<int64_t> qkv() const { return {rows(), length, width()}; }
  std::vector<int64_t> cache() const { return {slots, kv_heads, capacity, d}; }
  std::vector<int64_t> y() const { return {rows(), length, heads * d}; }
  std::string name() const {
    return std::to_string(rows()) + " rows of " + std::to_string(length) + ", " + std::to_string(heads) + ':' + std::to_string(kv_heads) + " heads of " + std::to_string(d) + ", room for " +
           std::to_string(capacity);
  }
};

int64_t size(const std::vector<int64_t>& shape) { return tensor(nullptr, Type::f32, shape).size(); }

struct Result { std::vector<float> y, keys, values; };

struct Inputs {
  Operand qkv, keys, values;
  Inputs(const Case& s, Type type) : qkv(type, s.qkv(), normal(size(s.qkv()), 1)), keys(type, s.cache(), normal(size(s.cache()), 2)), values(type, s.cache(), normal(size(s.cache()), 3)) {}
};

template <class Run> Result compute(const Case& s, Inputs in, Type type, const Run& run) {
  Operand y(type, s.y());
  std::vector<int32_t> slot = s.slot, cached = s.cached;
  run(CachedAttention{{in.qkv.tensor()}, {i32(slot, {s.rows()})}, {i32(cached, {s.rows()})}, {in.keys.tensor()}, {in.values.tensor()}, {y.tensor()}, s.heads, s.kv_heads});
  return {y.values(), in.keys.values(), in.values.values()};
}

Result oracle(const Case& s, const Inputs& in) {
  Inputs wide = in;
  wide.qkv = Operand(Type::f32, s.qkv(), in.qkv.values()), wide.keys = Operand(Type::f32, s.cache(), in.keys.values()), wide.values = Operand(Type::f32, s.cache(), in.values.values());
  Reference reference;
  return compute(s, wide, Type::f32, [&](const CachedAttention& op) { op.check(), run(reference, op); });
}

// One loop after the other in f32; keys and values as the oracle has stored them.
std::vector<float> plain(const Case& s, const std::vector<float>& qkv, const Result& stored, Type type) {
  std::vector<float> y(static_cast<size_t>(size(s.y())));
  const float scale = 1 / std::sqrt(static_cast<float>(s.d));
  for (int64_t r = 0; r < s.rows(); ++r)
    for (int64_t t = 0; t < s.length; ++t)
      for (int64_t h = 0; h < s.heads; ++h) {
        const int64_t slot = s.slot[static_cast<size_t>(r)], place = s.cached[static_cast<size_t>(r)] + t;
        if (slot < 0 || place >= s.capacity) continue;
        const float* q = &qkv[static_cast<size_t>((r * s.length + t) * s.width() + h * s.d)];
        const size_t base = static_cast<size_t>((slot * s.kv_heads + h / (s.heads / s.kv_heads)) * s.capacity * s.d);
        float* out = &y[static_cast<size_t>(((r * s.length + t) * s.heads + h) * s.d)];
        std::vector<float> p;
        float top = -INFINITY, total = 0;
        for (int64_t j = 0; j <= place; ++j) {
          float sum = 0;
          for (int64_t c = 0; c < s.d; ++c) sum += q[c] * stored.keys[base + static_cast<size_t>(j * s.d + c)];
          p.push_back(sum * scale), top = std::max(top, p.back());
        }
        for (float& x : p) total += x = std::exp(x - top);
        for (int64_t j = 0; j <= place; ++j)
          for (int64_t c = 0; c < s.d; ++c) out[c] += p[static_cast<size_t>(j)] / total * stored.values[base + static_cast<size_t>(j * s.d + c)];
      }
  return as_type(y, type);
}

// What a kernel finds in its scratch memory must not matter.
void poison_scratch(Cpu& device) {
  constexpr int64_t bytes = 1 << 21;
  for (int thread = 0; thread < device.threads(); ++thread) std::memset(device.scratch(thread, bytes), 0xff, bytes);
}

void against_reference(const Case& s, Type type) {
  const Inputs in(s, type);
  Inputs copy = in;
  const Result want = oracle(s, in);
  const double loop = std::max(error(plain(s, copy.qkv.values(), want, type), want.y), type == Type::bf16 ? 0x1p-9 : 0x1p-24);
  Result first;
  on_devices([&](Device& device, const std::string& on, bool is_first) {
    if (device.cpu()) poison_scratch(*device.cpu());
    int64_t products = 0;
    for (const int32_t cached : s.cached) products += s.length * (cached + s.length) * s.heads * s.d;
    if (device.emulated() && products > 2000000) return;
    const Result got = compute(s, in, type, [&](const CachedAttention& op) { run_op(device, op); });
    const std::string where = "cached_attention " + s.name() + ", " + on + ' ' + name_of(type);
    const double kernel = error(got.y, want.y);
    EXPECT(within(kernel, loop), where + ": error " + std::to_string(kernel * 1e6) + "e-6, a plain loop's " + std::to_string(loop * 1e6) + "e-6");
    EXPECT(same_bits(got.keys, want.keys) && same_bits(got.values, want.values), where + ": the cache holds the new tokens, and else what it held");
    if (is_first) first = got;
    EXPECT(same_bits(first.y, got.y), where + ": not the bits of one thread");
  });
}

}  // namespace

TEST(cached_attention_against_reference) {
  for (const Case& s : {Case{1, 1, 1, 1, 1, 1, {0}, {0}}, Case{1, 2, 1, 8, 3, 40, {2, 0, 1}, {0, 39, 16}}, Case{1, 4, 4, 32, 2, 300, {1, 0}, {257, 15}}, Case{1, 6, 2, 40, 2, 70, {0, 1}, {69, 31}},
                        Case{1, 3, 3, 7, 1, 33, {0}, {32}}, Case{1, 2, 2, 128, 1, 129, {0}, {128}}, Case{1, 1, 1, 200, 2, 20, {1, 0}, {3, 19}}, Case{3, 4, 2, 16, 3, 50, {2, 0}, {10, 0}},
                        Case{16, 2, 1, 32, 2, 64, {1, 0}, {0, 48}}, Case{17, 4, 2, 24, 1, 100, {0}, {64}}, Case{150, 2, 2, 64, 1, 500, {0}, {333}}, Case{64, 8, 2, 32, 2, 320, {0, 1}, {256, 5}},
                        Case{33, 1, 1, 5, 1, 33, {0}, {0}}, Case{20, 2, 1, 128, 1, 150, {0}, {100}}, Case{70, 2, 2, 72, 3, 140, {2, 0}, {3, 64}}})
    for (Type type : {Type::f32, Type::bf16}) against_reference(s, type);
}

// Rows without a slot, rows whose cache is full or becomes full, and what is no place of the cache at all.
TEST(cached_attention_keeps_to_its_room) {
  for (int64_t length : {1, 2, 16, 150})
    for (Type type : {Type::f32, Type::bf16}) {
      Case s{length, 2, 1, 16, 3, 20, {-1, 2, 0}, {3, 19, 20}};
      against_reference(s, type);
      s.slot = {3, 1000000, -1000000}, s.cached = {0, 0, 0};
      const Inputs in(s, type);
      on_devices([&](Device& device, const std::string& on, bool) {
        const Result got = compute(s, in, type, [&](const CachedAttention& op) { run_op(device, op); });
        Inputs before = in;
        EXPECT(std::all_of(got.y.begin(), got.y.end(), [](float y) { return y == 0; }) && same_bits(got.keys, before.keys.values()) && same_bits(got.values, before.values.values()),
               "cached_attention: a slot that there is not is not computed, " + on);
      });
    }
}

// A row's outputs do not depend on the rows beside it, nor on its slot.
TEST(cached_attention_is_alone_as_among_others) {
  for (int64_t length : {1, 4, 40})
    for (Type type : {Type::f32, Type::bf16}) {
      const Case both{length, 4, 2, 32, 5, 200, {4, 1, 3}, {7, 130, 0}};
      const Inputs in(both, type);
      on_devices([&](Device& device, const std::string& on, bool) {
        const Result all = compute(both, in, type, [&](const CachedAttention& op) { run_op(device, op); });
        for (size_t r = 0; r < 3; ++r) {
          Case one = both;
          one.slots = 1, one.slot = {0}, one.cached = {both.cached[r]};
          Inputs alone(one, type), from = in;
          const auto part = [](const std::vector<float>& x, size_t index, int64_t count) {
            return std::vector<float>(x.begin() + static_cast<int64_t>(index) * count, x.begin() + static_cast<int64_t>(index + 1) * count);
          };
          const size_t slot = static_cast<size_t>(both.slot[r]);
          alone.qkv = Operand(type, one.qkv(), part(from.qkv.values(), r, size(one.qkv())));
          alone.keys = Operand(type, one.cache(), part(from.keys.values(), slot, size(one.cache()))), alone.values = Operand(type, one.cache(), part(from.values.values(), slot, size(one.cache())));
          const Result got = compute(one, alone, type, [&](const CachedAttention& op) { run_op(device, op); });
          EXPECT(same_bits(got.y, part(all.y, r, size(one.y()))), "cached_attention: row " + std::to_string(r) + " of " + std::to_string(length) + " tokens, alone and among others, " + on);
        }
      });
    }
}

// A sequence that comes in pieces, as a prompt and the tokens after it do, is attended to as in one.
TEST(cached_attention_continues_a_sequence) {
  constexpr int64_t n = 75, heads = 4, kv_heads = 2, d = 32, width = (heads + 2 * kv_heads) * d, capacity = 80;
  for (Type type : {Type::f32, Type::bf16}) {
    Operand qkv(type, {1, n, width}, normal(n * width, 5));
    std::vector<float> x = qkv.values(), want(n * heads * d), lse(n * heads);
    std::vector<int32_t> starts(n, 0);
    const In at{i32(starts, {1, n})};
    Reference reference;
    run(reference, Attention{{f32(x, {1, n, width})}, at, {f32(want, {1, n, heads * d})}, {f32(lse, {1, heads, n})}, heads, kv_heads});
    on_devices([&](Device& device, const std::string& on, bool) {
      Operand whole(type, {1, n, heads * d}), whole_lse(Type::f32, {1, heads, n}), keys(type, {1, kv_heads, capacity, d}), values(type, {1, kv_heads, capacity, d});
      run_op(device, Attention{{qkv.tensor()}, at, {whole.tensor()}, {whole_lse.tensor()}, heads, kv_heads});
      std::vector<float> pieces;
      for (int64_t first = 0; first < n;) {
        const int64_t length = first < 64 ? 32 : 1;
        Operand some(type, {1, length, width}, std::vector<float>(x.begin() + first * width, x.begin() + (first + length) * width)), y(type, {1, length, heads * d});
        std::vector<int32_t> slot{0}, cached{static_cast<int32_t>(first)};
        run_op(device, CachedAttention{{some.tensor()}, {i32(slot, {1})}, {i32(cached, {1})}, {keys.tensor()}, {values.tensor()}, {y.tensor()}, heads, kv_heads});
        const std::vector<float> part = y.values();
        pieces.insert(pieces.end(), part.begin(), part.end());
        first += length;
      }
      const double in_one = error(whole.values(), want), in_pieces = error(pieces, want);
      EXPECT(within(in_pieces, in_one), "a sequence in pieces, " + on + ' ' + name_of(type) + ": error " + std::to_string(in_pieces * 1e6) + "e-6, in one " + std::to_string(in_one * 1e6) + "e-6");
    });
  }
}

TEST(cached_attention_nan_reaches_its_queries) {
  for (int64_t length : {1, 4, 16})
    for (Type type : {Type::f32, Type::bf16}) {
      const Case s{length, 1, 1, 16, 2, 60, {0, 1}, {20, 20}};
      Inputs in(s, type);
      std::vector<float> keys = in.keys.values();
      keys[19 * 16 + 3] = NAN;         // a key that all new tokens of the first row see
      keys[(60 + 50) * 16 + 3] = NAN;  // one that none of the second's sees
      in.keys = Operand(type, s.cache(), keys);
      on_devices([&](Device& device, const std::string& on, bool) {
        const Result got = compute(s, in, type, [&](const CachedAttention& op) { run_op(device, op); });
        for (size_t i = 0; i < got.y.size(); ++i) EXPECT(std::isnan(got.y[i]) == (i < got.y.size() / 2), "cached_attention: NaN, " + on);
      });
    }
}

// The values of tokens that a token does not see: of later ones of its own piece, of places behind it. Whom they do not reach has the bits that it has without; on
// a GPU only a right result, for what tensor cores spoiled is done again without them.
TEST(cached_attention_not_finite_values_reach_who_attends) {
  for (int64_t length : {1, 4, 19, 150})
    for (Type type : {Type::f32, Type::bf16})
      for (float wrong : {NAN, INFINITY}) {
        const Case s{length, 2, 1, 24, 2, 300, {0, 1}, {20, 70}};
        const Inputs sound(s, type);
        Inputs in = sound;
        std::vector<float> qkv = in.qkv.values(), values = in.values.values();
        const int64_t one = s.kv_heads * s.capacity * s.d;
        qkv[static_cast<size_t>((length / 2) * s.width() + 3 * s.d + 5)] = wrong;                    // the first row's token in the middle
        values[static_cast<size_t>(one + 31 * s.d + 7)] = wrong;                                     // seen by all of the second row
        for (int64_t place = 70 + length; place < s.capacity; ++place) values[static_cast<size_t>(one + place * s.d)] = wrong;  // behind it
        in.qkv = Operand(type, s.qkv(), qkv), in.values = Operand(type, s.cache(), values);
        const std::vector<float> want = oracle(s, in).y;
        on_devices([&](Device& device, const std::string& on, bool) {
          if (device.cpu()) poison_scratch(*device.cpu());
          const auto run = [&](const CachedAttention& op) { run_op(device, op); };
          const std::vector<float> got = compute(s, in, type, run).y, without = compute(s, sound, type, run).y;
          size_t missed = 0, leaked = 0, changed = 0;
          for (size_t i = 0; i < want.size(); ++i) {
            missed += !std::isfinite(want[i]) && std::isfinite(got[i]), leaked += std::isfinite(want[i]) && !std::isfinite(got[i]);
            changed += std::isfinite(want[i]) && !same_bits({got[i]}, {without[i]});
          }
          const std::string where = "cached_attention of " + std::to_string(length) + " tokens, " + on + ' ' + name_of(type);
          EXPECT(missed == 0 && leaked == 0, where + ": " + std::to_string(missed) + " should not be finite but are, " + std::to_string(leaked) + " should be");
          EXPECT(changed == 0 || device.cuda(), where + ": " + std::to_string(changed) + " that are not reached have other bits");
        });
      }
}

TEST(cached_attention_refuses) {
  std::vector<float> qkv(2 * 3 * 12), keys(2 * 1 * 5 * 3), values(keys), y(2 * 3 * 6), other(2 * 1 * 4 * 3);
  std::vector<int32_t> slots(2), cached(2), three(3);
  std::vector<uint16_t> half(30);
  const auto cache = [](std::vector<float>& x) { return InOut{f32(x, {2, 1, static_cast<int64_t>(x.size()) / 6, 3})}; };
  const CachedAttention good{{f32(qkv, {2, 3, 12})}, {i32(slots, {2})}, {i32(cached, {2})}, cache(keys), cache(values), {f32(y, {2, 3, 6})}, 2, 1};
  good.check();
  CachedAttention bad = good;
  bad.heads = 3;
  EXPECT(refuses(bad, "qkv's width"), "heads that do not fit");
  bad = good, bad.kv_heads = 2;
  EXPECT(refuses(bad, "keys must have"), "key heads that the cache has not");
  bad = good, bad.kv_heads = 0;
  EXPECT(refuses(bad, "kv_heads must be positive"), "no key heads");
  bad = good, bad.keys = {bf16(half, {2, 1, 5, 3})};
  EXPECT(refuses(bad, "keys must have"), "keys of another type");
  bad = good, bad.values = cache(other);
  EXPECT(refuses(bad, "values must be like keys"), "values of another shape");
  bad = good, bad.slots = {i32(three, {3})};
  EXPECT(refuses(bad, "slots and cached"), "slots of another size");
  bad = good, bad.slots = bad.cached = {i32(three, {3})}, bad.qkv = {f32(qkv, {1, 5, 12})};
  EXPECT(refuses(bad, "as many tokens for each row"), "tokens that do not split");
  bad = good, bad.y = {f32(y, {2, 6, 3})};
  EXPECT(refuses(bad, "y must have"), "y of another width");
}
