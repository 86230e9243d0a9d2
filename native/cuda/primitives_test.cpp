// Each wrapper of an instruction against what a plain loop makes of the manual's layouts, bit by bit: on the emulator, and unchanged on a GPU, where it
// tells which of them was remembered wrongly. `nichelm_test --device cuda primitive` runs these alone.
#include "cuda/primitives.h"

#include <cmath>
#include <cstdio>

#include "test/devices.h"

using namespace nichelm;
using namespace nichelm::test;

namespace {

using Words = std::vector<int32_t>;

// Words that are all different, with both halves different too.
Words counted(size_t count, uint32_t first = 1) {
  Words x(count);
  for (size_t i = 0; i < count; ++i) x[i] = static_cast<int32_t>((2 * i + first) << 16 | (2 * i + first + 1));
  return x;
}
// Small integers: their products' sums are exact, in whatever order.
std::vector<float> integers(size_t count, unsigned seed) {
  std::vector<float> x = normal(static_cast<int64_t>(count), seed, 3);
  for (float& v : x) v = std::nearbyint(v);
  return x;
}
Words bits_of(const std::vector<float>& x) {
  Words w(x.size());
  std::memcpy(w.data(), x.data(), 4 * x.size());
  return w;
}
uint32_t half_of(const Words& x, size_t i) { return static_cast<uint32_t>(x[i / 2]) >> (i % 2 * 16) & 0xffff; }
uint32_t both(uint32_t low, uint32_t high) { return low | high << 16; }
Tensor words(Words& x) { return i32(x, {static_cast<int64_t>(x.size())}); }

std::string hexadecimal(uint32_t x) {
  char text[16];
  std::snprintf(text, sizeof text, "%08x", x);
  return text;
}

// Runs it wherever it can, and tells the first words that are not as expected.
template <class Make> void expect_words(const std::string& what, bool hopper, const Words& before, const Words& want, const Make& make) {
  for (const CudaChoice& choice : cuda_devices()) {
    if (hopper ? choice.device->describe().major != 9 : choice.other_kernels) continue;
    choice.prepare();
    Words got = before;
    run_op(*choice.device, make(got));
    std::string told;
    size_t wrong = 0;
    for (size_t i = 0; i < want.size(); ++i)
      if (got[i] != want[i] && ++wrong <= 8) told += "\n  word " + std::to_string(i) + ": " + hexadecimal(static_cast<uint32_t>(got[i])) + ", expected " + hexadecimal(static_cast<uint32_t>(want[i]));
    EXPECT(wrong == 0, what + ", " + choice.name + ": " + std::to_string(wrong) + " of " + std::to_string(want.size()) + " words are wrong" + told);
  }
}
Primitive primitive(PrimitiveKind kind, const Tensor& a, const Tensor& b, const Tensor& c) { return {{a}, {b}, {c}, static_cast<int64_t>(kind), 0, false, false, false, false}; }

}  // namespace

TEST(primitive_load_matrices) {
  Words a = counted(128), want(128), transposed(128);
  for (size_t lane = 0; lane < 32; ++lane)
    for (size_t m = 0; m < 4; ++m) {
      const auto at = [&](size_t row, size_t column) { return half_of(a, (m * 8 + row) * 8 + column); };
      const size_t group = lane / 4, pair = lane % 4 * 2;
      want[lane * 4 + m] = static_cast<int32_t>(both(at(group, pair), at(group, pair + 1)));
      transposed[lane * 4 + m] = static_cast<int32_t>(both(at(pair, group), at(pair + 1, group)));
    }
  const Words before(128, -1);
  expect_words("ldmatrix", false, before, want, [&](Words& c) { return primitive(PrimitiveKind::load_matrices, words(a), words(a), words(c)); });
  expect_words("ldmatrix.trans", false, before, transposed, [&](Words& c) { return primitive(PrimitiveKind::load_matrices_transposed, words(a), words(a), words(c)); });
}

TEST(primitive_multiply_matrices) {
  const std::vector<float> a = integers(256, 1), b = integers(128, 2), c = integers(128, 3);
  const std::vector<uint16_t> ah = to_bf16(a), bh = to_bf16(b);
  Words ra(128), rb(64), before(128), want(128);
  std::vector<float> product = c;
  for (size_t m = 0; m < 16; ++m)
    for (size_t n = 0; n < 8; ++n)
      for (size_t k = 0; k < 16; ++k) product[m * 8 + n] += a[m * 16 + k] * b[k * 8 + n];
  const Words bits = bits_of(product), bits_before = bits_of(c);
  for (size_t lane = 0; lane < 32; ++lane) {
    const size_t group = lane / 4, pair = lane % 4 * 2;
    for (size_t i = 0; i < 4; ++i) {
      const size_t at = (group + i % 2 * 8) * 16 + pair + i / 2 * 8, of_c = (group + i / 2 * 8) * 8 + pair + i % 2;
      ra[lane * 4 + i] = static_cast<int32_t>(both(ah[at], ah[at + 1]));
      before[lane * 4 + i] = bits_before[of_c], want[lane * 4 + i] = bits[of_c];
    }
    for (size_t i = 0; i < 2; ++i) rb[lane * 2 + i] = static_cast<int32_t>(both(bh[(pair + i * 8) * 8 + group], bh[(pair + i * 8 + 1) * 8 + group]));
  }
  expect_words("mma.sync", false, before, want, [&](Words& d) { return primitive(PrimitiveKind::multiply_matrices, words(ra), words(rb), words(d)); });
}

TEST(primitive_copy_async) {
  Words a = counted(256), want(256);
  for (size_t t = 0; t < 64; ++t)
    for (size_t i = 0; i < 4; ++i) want[4 * t + i] = (t + 33) % 64 % 3 ? a[(t + 33) % 64 * 4 + i] : 0;
  expect_words("cp.async", false, Words(256, -1), want, [&](Words& c) { return primitive(PrimitiveKind::copy_async, words(a), words(a), words(c)); });
}

// The words of a box as they lie in shared memory, of a tensor whose element i has the bits i + 1 (0: outside).
TEST(primitive_tensor_copies) {
  using T = PrimitiveTensor;
  Words tensor(T::kElements / 2);
  for (size_t i = 0; i < tensor.size(); ++i) tensor[i] = static_cast<int32_t>(both(static_cast<uint32_t>(2 * i + 1), static_cast<uint32_t>(2 * i + 2)));
  constexpr size_t kBoxWords = T::kRows * 32;
  Words boxes(T::kPlaces * kBoxWords), stored(T::kPlaces * kBoxWords), before(tensor.size(), -1), after = before;
  const auto each_word = [](size_t place, const auto& begin, const auto& act) {  // of a box: there in shared memory, and here in the tensor, as it is inside
    for (int64_t row = 0; row < T::kRows; ++row)
      for (int64_t word = 0; word < 32; ++word) {
        const int64_t x = begin(0) + 2 * word, y = begin(1) + row, z = begin(2), w = begin(3);
        const bool inside = x < T::kSizes[0] && y >= 0 && y < T::kSizes[1] && z < T::kSizes[2] && w < T::kSizes[3];
        act(place * kBoxWords + static_cast<size_t>(row * 32 + ((word / 4) ^ (row % 8)) * 4 + word % 4), inside, static_cast<size_t>((x + y * T::kStrides[1] + z * T::kStrides[2] + w * T::kStrides[3]) / 2));
      }
  };
  for (size_t place = 0; place < T::kPlaces; ++place) {
    each_word(place, [place](int axis) { return T::at(static_cast<int>(place), axis); }, [&](size_t there, bool inside, size_t here) { boxes[there] = inside ? tensor[here] : 0; });
    each_word(place, [place](int axis) { return T::store_at(static_cast<int>(place), axis); }, [&](size_t there, bool inside, size_t here) {
      stored[there] = static_cast<int32_t>(0x51000000u + static_cast<uint32_t>(there));
      if (inside) after[here] = stored[there];
    });
  }
  expect_words("tensor load", true, Words(boxes.size(), -1), boxes, [&](Words& c) { return primitive(PrimitiveKind::load_box, words(tensor), words(tensor), words(c)); });
  expect_words("tensor store", true, before, after, [&](Words& c) { return primitive(PrimitiveKind::store_box, words(stored), words(stored), words(c)); });
}

TEST(primitive_load_bulk) {
  Words a = counted(256);
  expect_words("bulk copy", true, Words(192, -1), Words(a.begin() + 64, a.end()), [&](Words& c) { return primitive(PrimitiveKind::load_bulk, words(a), words(a), words(c)); });
}

TEST(primitive_pipeline) {
  using P = PrimitivePipeline;
  Words a = counted(P::kSteps * P::kWords), want(P::kWords);
  for (size_t word = 0; word < P::kWords; ++word) {
    uint32_t sum = 0;
    for (size_t step = 0; step < P::kSteps; ++step) sum = sum * 3 + static_cast<uint32_t>(a[step * P::kWords + word]);
    want[word] = static_cast<int32_t>(sum);
  }
  expect_words("mbarrier pipeline", true, Words(P::kWords, -1), want, [&](Words& c) { return primitive(PrimitiveKind::pipeline, words(a), words(a), words(c)); });
}

TEST(primitive_exchange) {
  Words a = counted(384), want(768);
  for (size_t i = 0; i < 768; ++i) want[i] = a[i / 256 * 128 + 127 - i % 128];
  expect_words("barriers of warpgroups", true, Words(768, -1), want, [&](Words& c) { return primitive(PrimitiveKind::exchange, words(a), words(a), words(c)); });
}

TEST(primitive_products) {
  constexpr size_t kDepth = kPrimitiveDepth;
  for (const size_t columns : {64, 128, 256}) {
    const std::vector<float> a = integers(64 * kDepth, 5), b = integers(kDepth * columns, 6);
    std::vector<float> want(64 * columns);  // by thread
    for (size_t t = 0; t < 128; ++t)
      for (size_t i = 0; i < columns / 2; ++i) {
        const size_t m = t / 32 * 16 + t % 32 / 4 + i / 2 % 2 * 8, n = i / 4 * 8 + t % 4 * 2 + i % 2;
        float sum = 0;
        for (size_t k = 0; k < kDepth; ++k) sum += a[m * kDepth + k] * b[k * columns + n];
        want[t * (columns / 2) + i] = 2 * sum;
      }
    for (int mask = 0; mask < 16; ++mask) {
      const bool across_a = mask & 1, across_b = mask & 2, registers = mask & 4, by_threads = mask & 8;
      if (registers && across_a) continue;
      std::vector<float> stored_a(a.size()), stored_b(b.size());
      for (size_t m = 0; m < 64; ++m)
        for (size_t k = 0; k < kDepth; ++k) stored_a[across_a ? k * 64 + m : m * kDepth + k] = a[m * kDepth + k];
      for (size_t k = 0; k < kDepth; ++k)
        for (size_t n = 0; n < columns; ++n) stored_b[across_b ? k * columns + n : n * kDepth + k] = b[k * columns + n];
      std::vector<uint16_t> ah = to_bf16(stored_a), bh = to_bf16(stored_b);
      const int64_t n = static_cast<int64_t>(columns), depth = kDepth;
      const Tensor of_a = bf16(ah, {64, 64}), of_b = across_b ? bf16(bh, {depth, n}) : bf16(bh, {n, depth});
      expect_words("wgmma of " + std::to_string(columns) + " columns" + (across_a ? ", a across" : "") + (across_b ? ", b across" : "") + (registers ? ", a in registers" : "") + (by_threads ? ", boxes by threads" : ""),
                   true, Words(64 * columns, -1), bits_of(want), [&](Words& c) {
                     Primitive p = primitive(PrimitiveKind::product, of_a, of_b, words(c));
                     p.columns = n, p.across_a = across_a, p.across_b = across_b, p.registers_a = registers, p.by_threads = by_threads;
                     return p;
                   });
    }
  }
}
