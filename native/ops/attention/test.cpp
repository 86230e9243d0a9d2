// attention and its gradient against the double reference and finite differences: odd shapes, documents, grouped heads, both types, every device.
#include <algorithm>
#include <array>
#include <cstdio>
#include <cstring>

#include "ops/attention/attention.h"
#include "test/devices.h"
#include "test/operand.h"

using namespace nichelm;
using namespace nichelm::test;

namespace {

struct Case {
  int64_t rows, length, heads, kv_heads, d, document;  // documents of so many tokens in a row; 0: one a row
  float scale = 1;                                     // of qkv: large scores make a sharp softmax

  int64_t width() const { return (heads + 2 * kv_heads) * d; }
  std::vector<int64_t> qkv() const { return {rows, length, width()}; }
  std::vector<int64_t> y() const { return {rows, length, heads * d}; }
  std::vector<int64_t> lse() const { return {rows, heads, length}; }
  std::vector<int32_t> starts() const {
    std::vector<int32_t> all;
    for (int64_t r = 0; r < rows; ++r)
      for (int64_t t = 0; t < length; ++t) all.push_back(static_cast<int32_t>(document ? t / (document + r) * (document + r) : 0));
    return all;
  }
  bool alone() const { return rows == 1 && (length == 1 || document == 1); }
  std::string name() const {
    return std::to_string(rows) + " rows of " + std::to_string(length) + ", " + std::to_string(heads) + ':' + std::to_string(kv_heads) + " heads of " + std::to_string(d) + ", documents of " +
           std::to_string(document);
  }
};

int64_t size(const std::vector<int64_t>& shape) { return tensor(nullptr, Type::f32, shape).size(); }

// A plain loop in f32; sums and products in the order of the formula. The backward makes p from the f32 lse, as its contract says.
struct Plain {
  std::vector<float> y, lse, dqkv;

  Plain(const Case& s, const std::vector<float>& qkv, const std::vector<int32_t>& starts, const std::vector<float>& dy, Type type)
      : y(static_cast<size_t>(size(s.y()))), lse(static_cast<size_t>(size(s.lse()))), dqkv(qkv.size()) {
    const float scale = 1 / std::sqrt(static_cast<float>(s.d));
    std::vector<float> p(static_cast<size_t>(s.length)), dp(p), score(p);
    for (int64_t r = 0; r < s.rows; ++r)
      for (int64_t h = 0; h < s.heads; ++h)
        for (int64_t i = 0; i < s.length; ++i) {
          const int64_t at = (r * s.length + i) * s.width() + h * s.d, g = h / (s.heads / s.kv_heads), base = r * s.length * s.width() + (s.heads + g) * s.d;
          const float *q = &qkv[static_cast<size_t>(at)], *k = &qkv[static_cast<size_t>(base)], *v = k + s.kv_heads * s.d;
          float *dq = &dqkv[static_cast<size_t>(at)], *dk = &dqkv[static_cast<size_t>(base)], *dv = dk + s.kv_heads * s.d;
          const size_t out = static_cast<size_t>(((r * s.length + i) * s.heads + h) * s.d);
          const int64_t start = starts[static_cast<size_t>(r * s.length + i)];
          float top = -INFINITY, total = 0, delta = 0;
          for (int64_t j = start; j <= i; ++j) {
            float sum = 0;
            for (int64_t c = 0; c < s.d; ++c) sum += q[c] * k[j * s.width() + c];
            p[static_cast<size_t>(j)] = score[static_cast<size_t>(j)] = sum * scale, top = std::max(top, sum * scale);
          }
          for (int64_t j = start; j <= i; ++j) total += p[static_cast<size_t>(j)] = std::exp(p[static_cast<size_t>(j)] - top);
          lse[static_cast<size_t>((r * s.heads + h) * s.length + i)] = top + std::log(total);
          for (int64_t j = start; j <= i; ++j) {
            p[static_cast<size_t>(j)] /= total;
            for (int64_t c = 0; c < s.d; ++c) y[out + static_cast<size_t>(c)] += p[static_cast<size_t>(j)] * v[j * s.width() + c];
          }
          // The backward reads y as it was stored.
          for (int64_t c = 0; c < s.d; ++c) y[out + static_cast<size_t>(c)] = as_type({y[out + static_cast<size_t>(c)]}, type)[0];
          for (int64_t c = 0; c < s.d; ++c) delta += dy[out + static_cast<size_t>(c)] * y[out + static_cast<size_t>(c)];
          for (int64_t j = start; j <= i; ++j) {
            dp[static_cast<size_t>(j)] = 0;
            for (int64_t c = 0; c < s.d; ++c) dp[static_cast<size_t>(j)] += dy[out + static_cast<size_t>(c)] * v[j * s.width() + c];
            p[static_cast<size_t>(j)] = std::exp(score[static_cast<size_t>(j)] - lse[static_cast<size_t>((r * s.heads + h) * s.length + i)]);
            const float ds = p[static_cast<size_t>(j)] * (dp[static_cast<size_t>(j)] - delta) * scale;
            for (int64_t c = 0; c < s.d; ++c) {
              dq[c] += ds * k[j * s.width() + c];
              dk[j * s.width() + c] += ds * q[c];
              dv[j * s.width() + c] += p[static_cast<size_t>(j)] * dy[out + static_cast<size_t>(c)];
            }
          }
        }
    dqkv = as_type(dqkv, type);
  }
};

// The columns of dq, dk or dv alone: each has its own size, and the largest must not hide an error in the others.
std::vector<float> part(const Case& s, const std::vector<float>& dqkv, int which) {
  const int64_t from = which == 0 ? 0 : (s.heads + (which - 1) * s.kv_heads) * s.d, to = which == 0 ? s.heads * s.d : from + s.kv_heads * s.d;
  std::vector<float> some;
  for (int64_t t = 0; t < s.rows * s.length; ++t) some.insert(some.end(), dqkv.begin() + t * s.width() + from, dqkv.begin() + t * s.width() + to);
  return some;
}

double distance(const std::vector<float>& a, const std::vector<float>& b) {
  double sum = 0;
  for (size_t i = 0; i < a.size(); ++i) sum += std::pow(double(a[i]) - b[i], 2);
  return std::sqrt(sum);
}

float from_bits(uint32_t bits) {
  float x;
  std::memcpy(&x, &bits, 4);
  return x;
}

// What a kernel finds in its scratch memory must not matter.
void poison_scratch(Cpu& device) {
  constexpr int64_t bytes = 1 << 22;
  for (int thread = 0; thread < device.threads(); ++thread) std::memset(device.scratch(thread, bytes), 0xff, bytes);
}

void against_reference(const Case& s, Type type) {
  Operand qkv(type, s.qkv(), normal(size(s.qkv()), 1, s.scale)), dy(type, s.y(), normal(size(s.y()), 2));
  std::vector<int32_t> starts = s.starts();
  const Tensor at = i32(starts, {s.rows, s.length});
  std::vector<float> x = qkv.values(), dyv = dy.values(), y(dyv.size()), lse(static_cast<size_t>(size(s.lse()))), dqkv(x.size());
  Reference reference;
  run(reference, Attention{{f32(x, s.qkv())}, {at}, {f32(y, s.y())}, {f32(lse, s.lse())}, s.heads, s.kv_heads});
  run(reference, AttentionGradient{{f32(dyv, s.y())}, {f32(x, s.qkv())}, {at}, {f32(y, s.y())}, {f32(lse, s.lse())}, {f32(dqkv, s.qkv())}, s.heads, s.kv_heads});
  const Plain plain(s, x, starts, dyv, type);
  std::vector<float> first[3];
  on_devices([&](Device& device, const std::string& on, bool is_first) {
    Operand got(type, s.y()), got_lse(Type::f32, s.lse()), got_dqkv(type, s.qkv());
    if (device.cpu()) poison_scratch(*device.cpu());
    run_op(device, Attention{{qkv.tensor()}, {at}, {got.tensor()}, {got_lse.tensor()}, s.heads, s.kv_heads});
    if (device.cpu()) poison_scratch(*device.cpu());
    run_op(device, AttentionGradient{{dy.tensor()}, {qkv.tensor()}, {at}, {got.tensor()}, {got_lse.tensor()}, {got_dqkv.tensor()}, s.heads, s.kv_heads});
    const std::string where = "attention " + s.name() + ", " + on + ' ' + name_of(type);
    const auto hold = [&](const char* what, const std::vector<float>& a, const std::vector<float>& b, const std::vector<float>& want) {
      // The rounding of the type at least: few elements may be exact by luck.
      const double kernel = error(a, want), loop = std::max(error(b, want), type == Type::bf16 ? 0x1p-9 : 0x1p-24);
      char ratio[64];
      std::snprintf(ratio, sizeof(ratio), ": error %.3g, a plain loop's %.3g", kernel, loop);
      EXPECT(within(kernel, loop), where + ", " + what + ratio);
    };
    hold("y", got.values(), plain.y, y);
    hold("lse", got_lse.values(), plain.lse, lse);
    const char* names[] = {"dq", "dk", "dv"};
    for (int which = 0; which < 3; ++which) {
      const std::vector<float> a = part(s, got_dqkv.values(), which), b = part(s, plain.dqkv, which), want = part(s, dqkv, which);
      // Where each query sees one key only, dq and dk are 0 and what is left is rounding: the rule then holds for distances, on the scale of dy.
      if (which < 2 && s.alone()) EXPECT(within(distance(a, want), distance(b, want), 1e-6 * std::sqrt(double(a.size()))), where + ", " + names[which] + ": should be 0");
      else hold(names[which], a, b, want);
    }
    if (is_first) first[0] = got.values(), first[1] = got_lse.values(), first[2] = got_dqkv.values();
    EXPECT(same_bits(first[0], got.values()) && same_bits(first[1], got_lse.values()) && same_bits(first[2], got_dqkv.values()), where + ": not the bits of one thread");
  }, type == Type::bf16 ? Gpus::each : Gpus::alike);
}

}  // namespace

TEST(attention_against_reference) {
  for (const Case& s : {Case{1, 1, 1, 1, 1, 0}, Case{1, 1, 2, 1, 8, 0}, Case{2, 3, 1, 1, 5, 0}, Case{1, 17, 3, 3, 7, 5}, Case{2, 64, 2, 2, 32, 0}, Case{1, 257, 4, 2, 64, 0}, Case{2, 257, 4, 1, 40, 30},
                        Case{1, 130, 1, 1, 128, 0}, Case{1, 600, 2, 1, 16, 70}, Case{1, 531, 1, 1, 33, 0}, Case{1, 400, 1, 1, 1, 390}, Case{3, 96, 4, 4, 32, 1}, Case{1, 45, 2, 2, 8, 1},
                        Case{1, 300, 2, 1, 24, 0, 6}, Case{1, 129, 1, 1, 200, 128}, Case{1, 420, 4, 2, 128, 150}, Case{2, 290, 2, 2, 72, 131}})
    for (Type type : {Type::f32, Type::bf16}) against_reference(s, type);
}

TEST(attention_packed_document_is_as_alone) {
  const Case both{1, 210, 4, 2, 40, 0}, alone{1, 133, 4, 2, 40, 0};
  const int64_t before = both.length - alone.length;
  std::vector<int32_t> starts(static_cast<size_t>(both.length), 0), zero(static_cast<size_t>(alone.length), 0);
  std::fill(starts.begin() + before, starts.end(), static_cast<int32_t>(before));
  on_devices([&](Device& device, const std::string& on, bool) {
    for (Type type : {Type::f32, Type::bf16}) {
      const std::vector<float> x = normal(size(both.qkv()), 3), g = normal(size(both.y()), 4);
      const auto tail = [](const std::vector<float>& v, int64_t count) { return std::vector<float>(v.end() - count, v.end()); };
      Operand qkv(type, both.qkv(), x), dy(type, both.y(), g), y(type, both.y()), lse(Type::f32, both.lse()), dqkv(type, both.qkv());
      Operand qkv_alone(type, alone.qkv(), tail(x, size(alone.qkv()))), dy_alone(type, alone.y(), tail(g, size(alone.y()))), y_alone(type, alone.y()), lse_alone(Type::f32, alone.lse()),
          dqkv_alone(type, alone.qkv());
      const In at{i32(starts, {1, both.length})}, at_alone{i32(zero, {1, alone.length})};
      run_op(device, Attention{{qkv.tensor()}, at, {y.tensor()}, {lse.tensor()}, 4, 2});
      run_op(device, Attention{{qkv_alone.tensor()}, at_alone, {y_alone.tensor()}, {lse_alone.tensor()}, 4, 2});
      run_op(device, AttentionGradient{{dy.tensor()}, {qkv.tensor()}, at, {y.tensor()}, {lse.tensor()}, {dqkv.tensor()}, 4, 2});
      run_op(device, AttentionGradient{{dy_alone.tensor()}, {qkv_alone.tensor()}, at_alone, {y_alone.tensor()}, {lse_alone.tensor()}, {dqkv_alone.tensor()}, 4, 2});
      const double tolerance = type == Type::bf16 ? 0x1p-8 : 1e-6;
      const std::string where = "packed as alone, " + on + ' ' + name_of(type);
      EXPECT(error(tail(y.values(), size(alone.y())), y_alone.values()) <= tolerance, where + ": y");
      EXPECT(error(tail(dqkv.values(), size(alone.qkv())), dqkv_alone.values()) <= tolerance, where + ": dqkv");
    }
  }, Gpus::each);
}

TEST(attention_gradient_is_the_slope) {
  for (const Case& s : {Case{1, 7, 1, 1, 4, 0}, Case{1, 9, 4, 2, 3, 4}}) {
    std::vector<float> x = normal(size(s.qkv()), 5), dy = normal(size(s.y()), 6), y(dy.size()), lse(static_cast<size_t>(size(s.lse()))), dqkv(x.size());
    std::vector<int32_t> starts = s.starts();
    const In at{i32(starts, {s.rows, s.length})};
    Reference reference;
    run(reference, AttentionGradient{{f32(dy, s.y())}, {f32(x, s.qkv())}, at, {f32(y, s.y())}, {f32(lse, s.lse())}, {f32(dqkv, s.qkv())}, s.heads, s.kv_heads});
    for (size_t i = 0; i < x.size(); ++i) {
      double loss[2], where[2];
      for (int side : {0, 1}) {
        std::vector<float> moved = x;
        moved[i] += side ? 1e-2f : -1e-2f;
        where[side] = moved[i], loss[side] = 0;
        run(reference, Attention{{f32(moved, s.qkv())}, at, {f32(y, s.y())}, {f32(lse, s.lse())}, s.heads, s.kv_heads});
        for (size_t j = 0; j < y.size(); ++j) loss[side] += double(y[j]) * dy[j];
      }
      EXPECT(std::abs((loss[1] - loss[0]) / (where[1] - where[0]) - dqkv[i]) < 5e-4, "attention_gradient, element " + std::to_string(i) + ": slope " +
             std::to_string((loss[1] - loss[0]) / (where[1] - where[0])) + ", gradient " + std::to_string(dqkv[i]));
    }
  }
}

TEST(attention_nan_reaches_its_queries) {
  const Case s{1, 100, 1, 1, 16, 50};
  std::vector<int32_t> starts = s.starts();
  const In at{i32(starts, {1, s.length})};
  on_devices([&](Device& device, const std::string& on, bool) {
    for (Type type : {Type::f32, Type::bf16}) {
      std::vector<float> x = normal(size(s.qkv()), 7);
      x[static_cast<size_t>(20 * s.width() + s.d)] = NAN;  // of key 20
      Operand qkv(type, s.qkv(), x), dy(type, s.y(), normal(size(s.y()), 8)), y(type, s.y()), lse(Type::f32, s.lse()), dqkv(type, s.qkv());
      run_op(device, Attention{{qkv.tensor()}, at, {y.tensor()}, {lse.tensor()}, 1, 1});
      run_op(device, AttentionGradient{{dy.tensor()}, {qkv.tensor()}, at, {y.tensor()}, {lse.tensor()}, {dqkv.tensor()}, 1, 1});
      const std::vector<float> out = y.values(), gradient = dqkv.values();
      bool all = true, none = true;
      for (size_t t = 20; t < 50; ++t) all = all && std::isnan(out[t * 16]) && std::isnan(lse.values()[t]) && std::isnan(gradient[t * 48]);
      for (size_t t = 0; t < 100; ++t)
        if (t < 20 || t >= 50) none = none && !std::isnan(out[t * 16]) && !std::isnan(lse.values()[t]);
      const std::string where = on + ' ' + name_of(type);
      EXPECT(all, "attention: a NaN key reaches every query that sees it, " + where);
      EXPECT(none, "attention: a NaN key reaches no query that does not see it, " + where);
    }
  }, Gpus::each);
}

// A value that is not finite reaches what the formulas say, and all of that; and everything else has the bits that it has without. In the reference no hidden
// pair is looked at. (CUDA's tensor cores multiply hidden ones by 0; what that spoils is done again, by other sums.)
TEST(attention_not_finite_reaches_who_attends) {
  const float odd_nan[] = {NAN, from_bits(0x7fc00001), from_bits(0xffffffff), INFINITY, -INFINITY};
  for (const Case& s : {Case{1, 75, 2, 1, 16, 29}, Case{2, 45, 1, 1, 5, 0}, Case{1, 300, 1, 1, 40, 131}})
    for (Type type : {Type::f32, Type::bf16})
      for (int which = 0; which < 8; ++which) {  // of a query, a key, a value, dy: each at two places
        const int64_t place = s.length * (which % 2 ? 37 : 11) / 75, width = which < 6 ? s.width() : s.heads * s.d;
        const int64_t element = place * width + (which < 2 ? 0 : which < 4 ? s.heads * s.d : which < 6 ? (s.heads + s.kv_heads) * s.d : 0) + s.d / 2;
        const float wrong = odd_nan[which % 2 ? 3 + (which / 2 + int(s.rows)) % 2 : (which / 2 + int(s.heads)) % 3];
        std::vector<float> x = normal(size(s.qkv()), 11), g = normal(size(s.y()), 12);
        Operand sound(type, s.qkv(), x), sound_dy(type, s.y(), g);
        (which < 6 ? x : g)[static_cast<size_t>(element)] = wrong;
        Operand qkv(type, s.qkv(), x), dy(type, s.y(), g);
        std::vector<int32_t> starts = s.starts();
        const Tensor at = i32(starts, {s.rows, s.length});
        x = qkv.values(), g = dy.values();
        std::vector<float> y(g.size()), lse(static_cast<size_t>(size(s.lse()))), dqkv(x.size());
        Reference reference;
        run(reference, Attention{{f32(x, s.qkv())}, {at}, {f32(y, s.y())}, {f32(lse, s.lse())}, s.heads, s.kv_heads});
        run(reference, AttentionGradient{{f32(g, s.y())}, {f32(x, s.qkv())}, {at}, {f32(y, s.y())}, {f32(lse, s.lse())}, {f32(dqkv, s.qkv())}, s.heads, s.kv_heads});
        on_devices([&](Device& device, const std::string& on, bool) {
          const auto all = [&](Operand& from, Operand& slope) {
            Operand out(type, s.y()), out_lse(Type::f32, s.lse()), gradient(type, s.qkv());
            if (device.cpu()) poison_scratch(*device.cpu());
            run_op(device, Attention{{from.tensor()}, {at}, {out.tensor()}, {out_lse.tensor()}, s.heads, s.kv_heads});
            if (device.cpu()) poison_scratch(*device.cpu());
            run_op(device, AttentionGradient{{slope.tensor()}, {from.tensor()}, {at}, {out.tensor()}, {out_lse.tensor()}, {gradient.tensor()}, s.heads, s.kv_heads});
            return std::array{out.values(), out_lse.values(), gradient.values()};
          };
          const auto got = all(qkv, dy), without = all(sound, sound_dy);
          const char* names[] = {"y", "lse", "dqkv"};
          for (size_t part = 0; part < 3; ++part) {
            const std::vector<float>& want = part == 0 ? y : part == 1 ? lse : dqkv;
            size_t missed = 0, leaked = 0, changed = 0, reached = 0;
            for (size_t i = 0; i < want.size(); ++i) {
              reached += !std::isfinite(want[i]);
              missed += !std::isfinite(want[i]) && std::isfinite(got[part][i]), leaked += std::isfinite(want[i]) && !std::isfinite(got[part][i]);
              const float is = got[part][i], was = without[part][i];
              const bool same = device.cpu() || type == Type::f32 ? same_bits({is}, {was}) : std::abs(is - was) <= 0x1p-6f * (1 + std::abs(was));
              changed += std::isnan(wrong) && std::isfinite(want[i]) && !same;
            }
            const std::string where = std::string(names[part]) + " of attention " + s.name() + ", operand " + std::to_string(which / 2) + " at " + std::to_string(place) + ", " + on + ' ' + name_of(type);
            EXPECT(missed == 0, std::to_string(missed) + " of " + std::to_string(reached) + " should not be finite: " + where);
            EXPECT(leaked == 0, std::to_string(leaked) + " should be finite: " + where);
            EXPECT(changed == 0, std::to_string(changed) + " that are not reached have changed: " + where);
          }
        }, Gpus::each);
      }
}

// A score of minus infinity is a weight of 0, also where the query sees no other key of a block of keys (here the first, which ends at 287) than that one.
TEST(attention_score_of_minus_infinity_weighs_nothing) {
  const Case s{1, 320, 1, 1, 8, 0};
  std::vector<int32_t> starts(320, 0);
  std::fill(starts.begin() + 40, starts.end(), 40), std::fill(starts.begin() + 287, starts.end(), 287);
  std::vector<float> x = normal(size(s.qkv()), 13), want(320 * 8), lse(320);
  x[static_cast<size_t>(287 * s.width() + s.d)] = INFINITY;
  const In at{i32(starts, {1, 320})};
  Reference reference;
  run(reference, Attention{{f32(x, s.qkv())}, at, {f32(want, s.y())}, {f32(lse, s.lse())}, 1, 1});
  on_devices([&](Device& device, const std::string& on, bool) {
    for (Type type : {Type::f32, Type::bf16}) {
      Operand qkv(type, s.qkv(), x), y(type, s.y()), sums(Type::f32, s.lse());
      run_op(device, Attention{{qkv.tensor()}, at, {y.tensor()}, {sums.tensor()}, 1, 1});
      const std::vector<float> got = y.values();
      int finite = 0, wrong = 0;
      for (size_t i = 288 * 8; i < got.size(); ++i) finite += std::isfinite(want[i]), wrong += std::isfinite(want[i]) ? !(std::abs(got[i] - want[i]) < 0.05f) : std::isfinite(got[i]);
      EXPECT(finite > 80 && wrong == 0, "attention: " + std::to_string(wrong) + " elements are wrong, " + on + ' ' + name_of(type));
    }
  }, Gpus::each);
}

TEST(attention_holds_starts_to_their_bounds) {
  const Case s{1, 40, 1, 1, 8, 0};
  std::vector<int32_t> wild(40, -1000000), held(40, 0);
  for (size_t t = 10; t < 40; ++t) wild[t] = 1000000, held[t] = static_cast<int32_t>(t);
  std::vector<float> x = normal(size(s.qkv()), 9), dy = normal(size(s.y()), 10), y[2], lse(40), dqkv[2];
  on_devices([&](Device& device, const std::string& on, bool) {
    for (int which : {0, 1}) {
      const In at{i32(which ? wild : held, {1, 40})};
      y[which].assign(dy.size(), NAN), dqkv[which].assign(x.size(), NAN);
      run_op(device, Attention{{f32(x, s.qkv())}, at, {f32(y[which], s.y())}, {f32(lse, s.lse())}, 1, 1});
      run_op(device, AttentionGradient{{f32(dy, s.y())}, {f32(x, s.qkv())}, at, {f32(y[which], s.y())}, {f32(lse, s.lse())}, {f32(dqkv[which], s.qkv())}, 1, 1});
    }
    EXPECT(same_bits(y[0], y[1]) && same_bits(dqkv[0], dqkv[1]), "attention: starts out of bounds are as those held to them, " + on);
  });
}

TEST(attention_refuses) {
  std::vector<float> x(2 * 3 * 12), y(2 * 3 * 6), z(2 * 3 * 5), lse(12);
  std::vector<int32_t> starts(6);
  std::vector<uint16_t> half(2 * 3 * 6);
  const auto message = [](const auto& op) -> std::string {
    try { op.check(); } catch (const Error& e) { return e.code == ErrorCode::argument ? e.what() : ""; }
    return "";
  };
  const In qkv{f32(x, {2, 3, 12})}, at{i32(starts, {2, 3})};
  const Out out{f32(y, {2, 3, 6})}, logs{f32(lse, {2, 2, 3})};
  EXPECT(message(Attention{qkv, at, out, logs, 2, 1}).empty(), "attention: a sound call");
  EXPECT(message(Attention{qkv, at, out, logs, 3, 2}).find("attention: kv_heads") == 0, "attention: heads no multiple of kv_heads");
  EXPECT(message(Attention{qkv, at, out, logs, 0, 0}).find("attention: kv_heads") == 0, "attention: no heads");
  EXPECT(message(Attention{qkv, at, out, logs, 5, 1}).find("attention: qkv's width") == 0, "attention: width no multiple of the heads");
  EXPECT(message(Attention{{i32(starts, {2, 3})}, at, out, logs, 2, 1}).find("attention: qkv must be") == 0, "attention: i32");
  EXPECT(message(Attention{qkv, {f32(x, {2, 3})}, out, logs, 2, 1}).find("attention: starts") == 0, "attention: starts no i32");
  EXPECT(message(Attention{qkv, {i32(starts, {1, 5})}, out, logs, 2, 1}).find("attention: starts") == 0, "attention: starts of another size");
  EXPECT(message(Attention{qkv, at, {f32(z, {2, 3, 5})}, logs, 2, 1}).find("attention: y") == 0, "attention: y of another width");
  EXPECT(message(Attention{qkv, at, {bf16(half, {2, 3, 6})}, logs, 2, 1}).find("attention: y") == 0, "attention: y of another type");
  EXPECT(message(Attention{qkv, at, out, {f32(lse, {2, 1, 3})}, 2, 1}).find("attention: lse") == 0, "attention: lse of another size");
  EXPECT(message(AttentionGradient{{f32(z, {2, 3, 5})}, qkv, at, {out}, {logs}, {f32(x, {2, 3, 12})}, 2, 1}).find("attention_gradient: dy") == 0, "attention_gradient: dy of another width");
  EXPECT(message(AttentionGradient{{out}, qkv, at, {out}, {logs}, {f32(y, {2, 3, 6})}, 2, 1}).find("attention_gradient: dqkv") == 0, "attention_gradient: dqkv of another size");
}
