// matmul against the double reference: every device, both types, all transposes and epilogues, stacks, odd shapes.
#include <algorithm>
#include <cmath>
#include <cstring>

#include "ops/matmul/apart.h"
#include "runtime/bf16.h"
#include "runtime/on_isa.h"
#include "test/devices.h"

using namespace nichelm;
using test::Device, test::on_devices;

namespace {

struct Case {
  int64_t m, n, k;  // of one group
  bool transpose_a = false, transpose_b = false;
  bool bias = false, gelu = false, pre = false, gelu_of = false, residual = false;
  bool accumulate = false;
  int64_t groups = 0;  // 0: no stack

  int64_t parts() const { return groups ? groups : 1; }
  int64_t results() const { return parts() * m * n; }
  std::string text() const {
    std::string s = "matmul " + (groups ? std::to_string(groups) + " of " : "") + std::to_string(m) + "x" + std::to_string(n) + "x" + std::to_string(k);
    for (auto [on, name] : {std::pair{transpose_a, " transpose_a"}, {transpose_b, " transpose_b"}, {bias, " bias"}, {gelu, " gelu"}, {pre, " pre"}, {gelu_of, " gelu_of"}, {residual, " residual"},
                            {accumulate, " accumulate"}})
      if (on) s += name;
    return s;
  }
};

// Values that a kernel of some type holds, kept as floats; data() gives them in that type, followed by a few that no kernel may touch.
class Buffer {
 public:
  Buffer(std::vector<float> values, Type type) : size_(values.size()), type_(type) {
    values.resize(size_ + 8, 42.0f);
    type == Type::bf16 ? void(halves_ = test::to_bf16(values)) : floats_.swap(values);
  }
  Tensor tensor(std::vector<int64_t> shape) { return test::tensor(type_ == Type::bf16 ? static_cast<void*>(halves_.data()) : floats_.data(), type_, std::move(shape)); }
  std::vector<float> values() const {
    std::vector<float> all = type_ == Type::bf16 ? test::from_bf16(halves_) : floats_;
    for (size_t i = size_; i < all.size(); ++i) EXPECT(all[i] == 42.0f, "a kernel wrote behind its output");
    all.resize(size_);
    return all;
  }

 private:
  size_t size_;
  Type type_;
  std::vector<float> floats_;
  std::vector<uint16_t> halves_;
};

struct Inputs {
  std::vector<float> a, b, bias, gelu_of, residual, c;

  Inputs(const Case& s, Type type, Type c_type) {
    const auto make = [](int64_t count, unsigned seed, Type t) { return t == Type::bf16 ? test::rounded(test::normal(count, seed)) : test::normal(count, seed); };
    const unsigned seed = static_cast<unsigned>(s.m * 7919 + s.n * 104729 + s.k);
    a = make(s.parts() * s.m * s.k, seed, type), b = make(s.parts() * s.k * s.n, seed + 1, type);
    for (float& x : b) x /= 4;  // a quarter is exact in bf16 too
    bias = make(s.n, seed + 2, Type::f32), gelu_of = make(s.results(), seed + 3, c_type), residual = make(s.results(), seed + 4, c_type);
    c = s.accumulate ? make(s.results(), seed + 5, Type::f32) : std::vector<float>(static_cast<size_t>(s.results()), NAN);
  }
};

struct Outputs { std::vector<float> c, pre; };

template <class Run> Outputs compute(const Case& s, const Inputs& in, Type type, Type c_type, const Run& run) {
  Buffer a(in.a, type), b(in.b, type), bias(in.bias, Type::f32), gelu_of(in.gelu_of, c_type), residual(in.residual, c_type), c(in.c, c_type);
  Buffer pre(std::vector<float>(in.c.size(), NAN), c_type);
  const int64_t rows = s.parts() * s.m;
  const bool stacked_c = s.groups && s.transpose_a;
  const auto matrix = [&](Buffer& x, int64_t height, int64_t width) { return s.groups ? x.tensor({s.groups, height, width}) : x.tensor({height, width}); };
  const In in_a{s.transpose_a ? a.tensor({s.parts() * s.k, s.m}) : a.tensor({rows, s.k})};
  const In in_b{stacked_c ? b.tensor({s.groups * s.k, s.n}) : s.transpose_b ? matrix(b, s.n, s.k) : matrix(b, s.k, s.n)};
  const Tensor result = stacked_c ? c.tensor({s.groups, s.m, s.n}) : c.tensor({rows, s.n});
  if (s.accumulate) {
    run(MatmulAccumulate{in_a, in_b, {result}, s.transpose_a, s.transpose_b});
  } else {
    Matmul op{in_a, in_b, {}, {}, {}, {result}, {}, s.transpose_a, s.transpose_b, s.gelu};
    if (s.bias) op.bias = {bias.tensor({s.n})};
    if (s.gelu_of) op.gelu_of = {gelu_of.tensor({rows, s.n})};
    if (s.residual) op.residual = {residual.tensor({rows, s.n})};
    if (s.pre) op.pre = {pre.tensor({rows, s.n})};
    run(op);
  }
  return {c.values(), s.pre ? pre.values() : std::vector<float>{}};
}

float plain_gelu(float x) { return 0.5f * x * (1 + std::tanh(0.7978845608f * (x + 0.044715f * x * x * x))); }
float plain_gelu_derivative(float x) {
  const float t = std::tanh(0.7978845608f * (x + 0.044715f * x * x * x));
  return 0.5f * (1 + t) + 0.5f * x * (1 - t * t) * 0.7978845608f * (1 + 3 * 0.044715f * x * x);
}

// A sum of products in f32, one after the other.
float plain_sum(int64_t count, const auto& product) {
  float y = 0;
  for (int64_t p = 0; p < count; ++p) y += static_cast<float>(product(p));
  return y;
}

// As tensor cores add: some products at a time exactly, then cut off after f32's 24 bits, not rounded (Fasi, Higham, Mikaitis, Pranesh, "Numerical behavior of
// NVIDIA tensor cores", 2021). The error grows with the number of steps, not with its root.
float cut_sum(int64_t count, const auto& product) {
  constexpr int64_t kTogether = 8;
  float y = 0;
  for (int64_t p = 0; p < count; p += kTogether) {
    double exact = double{y};
    for (int64_t q = p; q < std::min(count, p + kTogether); ++q) exact += product(q);
    y = static_cast<float>(exact);
    if (std::abs(double{y}) > std::abs(exact)) y = std::nextafter(y, 0.0f);
  }
  return y;
}

// The same product in f32, its sums made by sum(count, product).
Outputs plain(const Case& s, const Inputs& in, Type c_type, const auto& sum) {
  Outputs out{in.c, std::vector<float>(s.pre ? in.c.size() : 0)};
  for (int64_t row = 0; row < s.parts() * s.m; ++row)
    for (int64_t j = 0; j < s.n; ++j) {
      const size_t at = static_cast<size_t>(row * s.n + j);
      const int64_t group = row / s.m, i = row % s.m;
      const float *a = in.a.data() + group * s.m * s.k, *b = in.b.data() + group * s.k * s.n;
      float y = sum(s.k, [&](int64_t p) { return double{a[s.transpose_a ? p * s.m + i : i * s.k + p]} * double{b[s.transpose_b ? j * s.k + p : p * s.n + j]}; });
      if (s.accumulate) { out.c[at] += y; continue; }
      if (s.bias) y += in.bias[static_cast<size_t>(j)];
      if (s.pre) out.pre[at] = y;
      if (s.gelu) y = plain_gelu(y);
      if (s.gelu_of) y *= plain_gelu_derivative(in.gelu_of[at]);
      if (s.residual) y += in.residual[at];
      out.c[at] = y;
    }
  if (c_type == Type::bf16) out.c = test::rounded(out.c), out.pre = test::rounded(out.pre);
  return out;
}

bool same_bits(const std::vector<float>& x, const std::vector<float>& y) { return x.size() == y.size() && (x.empty() || std::memcmp(x.data(), y.data(), x.size() * 4) == 0); }

constexpr auto kDevices = [](const auto& body, test::Gpus gpus) { on_devices(body, gpus); };
constexpr auto kLibraryDevices = [](const auto& body, test::Gpus) { test::on_library_devices(body); };

template <class Devices> void test_case(const Case& s, Type type, Type c_type, const Devices& devices) {
  const Inputs in(s, type, c_type);
  Reference reference;
  const Outputs want = compute(s, in, Type::f32, Type::f32, [&](const auto& op) { op.check(), run(reference, op); });
  const auto allowed = [&](const Outputs& simple) { return std::pair{test::error(simple.c, want.c), s.pre ? test::error(simple.pre, want.pre) : 0}; };
  const auto [simple, simple_pre] = allowed(plain(s, in, c_type, [](int64_t count, const auto& product) { return plain_sum(count, product); }));
  Outputs first;
  devices([&](Device& device, const std::string& name, bool is_first) {
    const Outputs got = compute(s, in, type, c_type, [&](const auto& op) { run_op(device, op); });
    const std::string what = s.text() + " " + name_of(type) + " to " + name_of(c_type) + ", " + name;
    if (is_first) {
      first = got;
      double most = simple, most_pre = simple_pre;
      if (device.cuda() && !device.emulated() && type == Type::bf16) {
        const auto [cut, cut_pre] = allowed(plain(s, in, c_type, [](int64_t count, const auto& product) { return cut_sum(count, product); }));
        most = std::max(most, cut), most_pre = std::max(most_pre, cut_pre);
      }
      const double error = test::error(got.c, want.c);
      EXPECT(test::within(error, most), what + ": error " + std::to_string(error * 1e6) + "e-6, plain " + std::to_string(most * 1e6) + "e-6");
      if (s.pre) EXPECT(test::within(test::error(got.pre, want.pre), most_pre), what + ": pre");
    } else {
      EXPECT(same_bits(got.c, first.c) && same_bits(got.pre, first.pre), what + ": other bits than with one thread");
    }
  }, type == Type::bf16 && s.m > 32 && s.n > 32 ? test::Gpus::each : test::Gpus::alike);  // smaller ones have no kernels of their own
}

void test_case(const Case& s, Type type, Type c_type) { test_case(s, type, c_type, kDevices); }

template <class Devices> void test_types(const Case& s, const Devices& devices) {
  test_case(s, Type::f32, Type::f32, devices);
  test_case(s, Type::bf16, Type::f32, devices);
  if (!s.accumulate) test_case(s, Type::bf16, Type::bf16, devices);
}
void test_types(const Case& s) { test_types(s, kDevices); }

}  // namespace

TEST(matmul_shapes) {
  for (auto [m, n, k] : {std::array<int64_t, 3>{1, 1, 1}, {1, 1, 0}, {7, 5, 0}, {1, 97, 31}, {97, 1, 64}, {3, 5, 7}, {14, 32, 16}, {13, 16, 2}, {61, 67, 71}, {131, 37, 17}, {5, 531, 9}, {29, 31, 1100}})
    for (const bool transpose_a : {false, true})
      for (const bool transpose_b : {false, true})
        for (const bool accumulate : {false, true}) {
          Case s{m, n, k, transpose_a, transpose_b};
          s.accumulate = accumulate;
          test_types(s);
        }
}

// k so long that it is cut into blocks and splits, few of which are even.
TEST(matmul_long_sums) {
  for (auto [m, n, k] : {std::array<int64_t, 3>{33, 35, 5003}, {1, 17, 9001}, {130, 300, 2051}})
    for (const bool accumulate : {false, true}) {
      Case s{m, n, k, true, false};
      s.accumulate = accumulate;
      test_types(s);
    }
}

// Results that are small beside k, of which a thread packs both operands: either the narrower, with splits and, of larger ones, without.
TEST(matmul_deep) {
  const auto on_cpus = [](const auto& body, test::Gpus) { test::on_cpus([&](Cpu& cpu, const std::string& name, bool first) { Device device(cpu); body(device, name, first); }); };
  for (auto [m, n, k] : {std::array<int64_t, 3>{70, 33, 2300}, {31, 200, 4400}, {521, 335, 2049}, {340, 790, 2050}})
    for (const bool transpose : {true, false}) {
      if (m > 300 && !transpose) continue;  // slow ones
      Case s{m, n, k, transpose, !transpose};
      s.accumulate = transpose;
      s.bias = s.residual = !transpose;
      test_case(s, Type::f32, Type::f32, on_cpus);
      if (k > 4096) test_case(s, Type::bf16, Type::f32, on_cpus);
    }
}

// Gradients of weights that are high and narrow, which are made transposed: results that no tile divides, one panel and several, one block of k and two; stacks.
TEST(matmul_high_and_narrow) {
  for (auto [m, n, k] : {std::array<int64_t, 3>{130, 17, 9}, {515, 96, 71}, {1025, 256, 40}, {64, 16, 2050}, {4, 1, 1}})
    for (const int64_t groups : {0, 3}) {
      Case s{m, n, k, true, false};
      s.accumulate = true, s.groups = groups;
      test_types(s);
    }
}

// Each group's rows with a matrix of their own, and the gradient of such matrices: many small ones, some that are cut into blocks and splits.
TEST(matmul_stacks) {
  for (auto [groups, m, n, k] : {std::array<int64_t, 4>{1, 5, 7, 3}, {2, 1, 1, 1}, {3, 7, 5, 0}, {5, 29, 37, 17}, {4, 15, 130, 71}, {3, 130, 33, 64}, {40, 3, 9, 21}, {2, 33, 35, 2301}})
    for (const bool transpose_b : {false, true})
      for (const bool accumulate : {false, true}) {
        Case s{m, n, k, false, transpose_b};
        s.groups = groups, s.accumulate = accumulate;
        test_types(s);
        if (transpose_b) continue;
        s.transpose_a = s.accumulate = true;
        test_types(s);
      }
  Case s{37, 45, 33};
  s.groups = 3, s.bias = s.gelu = s.pre = true;
  test_types(s);
  s.gelu = s.pre = s.bias = false, s.transpose_b = s.gelu_of = s.residual = true;
  test_types(s);
}

// A group's results are those of its product alone, to the bit; also where only some groups are done at once.
TEST(matmul_stacks_are_products) {
  for (const Type type : {Type::f32, Type::bf16})
    for (auto [groups, m, n, k] : {std::array<int64_t, 4>{3, 50, 70, 2100}, {7, 9, 640, 1030}, {5, 130, 64, 5000}})
      for (const bool gradient : {false, true}) {
        Case s{m, n, k, gradient, false};
        s.groups = groups, s.accumulate = gradient;
        const Inputs in(s, type, type);
        on_devices([&](Device& device, const std::string& name, bool is_first) {
          if (!is_first) return;
          const Outputs got = compute(s, in, type, Type::f32, [&](const auto& op) { run_op(device, op); });
          for (int64_t g = 0; g < groups; ++g) {
            const auto part = [&](const std::vector<float>& x, int64_t size) { return std::vector<float>(x.begin() + g * size, x.begin() + (g + 1) * size); };
            Case one = s;
            one.groups = 0;
            Inputs alone(one, type, type);
            alone.a = part(in.a, m * k), alone.b = part(in.b, k * n), alone.c = part(in.c, m * n);
            const Outputs want = compute(one, alone, type, Type::f32, [&](const auto& op) { run_op(device, op); });
            EXPECT(same_bits(part(got.c, m * n), want.c), s.text() + " " + name_of(type) + ", group " + std::to_string(g) + ", " + name);
          }
        }, type == Type::bf16 ? test::Gpus::each : test::Gpus::alike);
      }
}

// Of few rows: every row is computed as if it stood alone, to the bit, as texts that are generated side by side need it.
TEST(matmul_few_rows_are_alone) {
  for (const Type type : {Type::f32, Type::bf16})
    for (const bool transpose_b : {false, true})
      for (auto [m, n, k] : {std::array<int64_t, 3>{64, 200, 95}, {33, 37, 1301}, {15, 1000, 64}, {2, 5, 3}, {3, 520, 1031}}) {
        Case s{m, n, k, false, transpose_b};
        s.bias = s.gelu = s.residual = true;
        test_types(s);
        const Inputs in(s, type, type);
        test::on_cpus([&](Cpu& cpu, const std::string& name, bool) {
          const Outputs all = compute(s, in, type, type, [&](const auto& op) { run_op(cpu, op); });
          Case one = s;
          one.m = 1;
          for (int64_t i = 0; i < m; i += 7) {
            const auto part = [&](const std::vector<float>& x, int64_t size) { return std::vector<float>(x.begin() + i * size, x.begin() + (i + 1) * size); };
            Inputs alone = in;
            alone.a = part(in.a, k), alone.c = part(in.c, n), alone.residual = part(in.residual, n), alone.gelu_of = part(in.gelu_of, n);
            EXPECT(same_bits(part(all.c, n), compute(one, alone, type, type, [&](const auto& op) { run_op(cpu, op); }).c), s.text() + " " + name_of(type) + ", row " + std::to_string(i) + ", " + name);
          }
        });
      }
}

// Rows `row` elements apart, NaN between them.
std::vector<float> spread(const std::vector<float>& x, int64_t width, int64_t row) {
  std::vector<float> y(x.size() / static_cast<size_t>(width) * static_cast<size_t>(row), NAN);
  for (size_t i = 0; i < x.size(); ++i) y[i / static_cast<size_t>(width) * static_cast<size_t>(row) + i % static_cast<size_t>(width)] = x[i];
  return y;
}

// Where rows lie further apart in memory the results are the same bits, and nothing is written between them: many rows and few, both ways a may lie, products
// with one block of k and several, those that are small beside k, of which either operand is the wider, and high
// and narrow ones.
TEST(matmul_rows_apart) {
  for (const Type type : {Type::f32, Type::bf16})
    for (auto [m, n, k] : {std::array<int64_t, 3>{100, 270, 64}, {9, 130, 37}, {45, 33, 1100}, {300, 40, 4200}, {40, 300, 4200}, {515, 40, 70}})
      for (const bool gradient : {false, true}) {
        Case s{m, n, k, gradient, !gradient};
        s.accumulate = gradient;
        const Inputs in(s, type, Type::f32);
        const int64_t width = gradient ? m : k, a_row = width + 13, c_row = gradient ? n : apart<float>(n);
        test::on_cpus([&](Cpu& cpu, const std::string& name, bool) {
          const Outputs want = compute(s, in, type, Type::f32, [&](const auto& op) { run_op(cpu, op); });
          Buffer a(spread(in.a, width, a_row), type), b(in.b, type), c(spread(in.c, n, c_row), Type::f32);
          if (gradient) run_on_isa(cpu, RowsApart<MatmulAccumulate>{{{a.tensor({k, m})}, {b.tensor({k, n})}, {c.tensor({m, n})}, true, false}, a_row});
          else run_on_isa(cpu, RowsApart<Matmul>{{{a.tensor({m, k})}, {b.tensor({n, k})}, {}, {}, {}, {c.tensor({m, n})}, {}, false, true, false}, a_row, c_row});
          EXPECT(same_bits(c.values(), spread(want.c, n, c_row)), s.text() + " " + name_of(type) + ", " + name);
        });
      }
}

// Threads pack neighbouring panels of one operand at the same time: none may touch another's.
TEST(matmul_packs_apart) {
  for (const bool transpose_a : {false, true})
    for (const Type type : {Type::f32, Type::bf16}) {
      const Case s{448, 512, type == Type::f32 ? 512 : 1024, transpose_a};
      const Inputs in(s, type, Type::f32);
      for (const int isa : test::isas()) {
        Cpu one(1, static_cast<Isa>(isa)), two(2, static_cast<Isa>(isa));
        const Outputs want = compute(s, in, type, Type::f32, [&](const auto& op) { run_op(one, op); });
        for (int i = 0; i < 20; ++i)  // it takes bad luck to see
          EXPECT(same_bits(compute(s, in, type, Type::f32, [&](const auto& op) { run_op(two, op); }).c, want.c), s.text() + " " + name_of(type) + ", " + name_of(static_cast<Isa>(isa)));
      }
    }
}

// Its layouts, what it adds itself, and the kernel that does the other epilogues.
TEST(matmul_by_cublaslt) {
  for (auto [m, n, k] : {std::array<int64_t, 3>{1, 97, 31}, {3, 5, 7}, {40, 24, 16}, {7, 5, 0}, {29, 31, 300}, {5, 130, 8}})
    for (const bool transpose_a : {false, true})
      for (const bool transpose_b : {false, true}) {
        for (const bool residual : {false, true})
          for (const char* epilogue : {"", "bias", "gelu", "gelu_of"}) {
            const std::string e = epilogue;
            Case s{m, n, k, transpose_a, transpose_b};
            s.residual = residual, s.bias = e == "bias" || e == "gelu", s.gelu = s.pre = e == "gelu", s.gelu_of = e == "gelu_of";
            test_types(s, kLibraryDevices);
          }
        Case s{m, n, k, transpose_a, transpose_b};
        s.accumulate = true;
        test_types(s, kLibraryDevices);
        for (const int64_t groups : {1, 3}) {
          if (transpose_a && transpose_b) continue;
          Case stack{m, n, k, transpose_a, transpose_b};
          stack.groups = groups, stack.accumulate = transpose_a;
          test_types(stack, kLibraryDevices);
          stack.residual = stack.bias = !transpose_a;
          test_types(stack, kLibraryDevices);
        }
      }
}

// Shapes that a GPU cuts into large tiles, with parts of tiles at the edges.
TEST(matmul_large_tiles) {
  for (const bool transpose_a : {false, true})
    for (const bool transpose_b : {false, true}) {
      Case s{264, 400, 72, transpose_a, transpose_b};
      s.accumulate = transpose_a;
      if (!s.accumulate) s.bias = s.gelu = s.pre = s.residual = true;
      test_types(s);
    }
}

// Rows that the copy engine of a GPU takes, in all orders, with parts of tiles at every edge, of stacks too; n that leaves c's rows unaligned; parts of k.
TEST(matmul_copied_tiles) {
  for (auto [m, n, k] : {std::array<int64_t, 3>{40, 72, 8}, {136, 264, 200}, {264, 520, 136}})
    for (const bool transpose_a : {false, true})
      for (const bool transpose_b : {false, true})
        for (const bool accumulate : {false, true}) {
          Case s{m, n, k, transpose_a, transpose_b};
          s.accumulate = accumulate;
          if (!accumulate) s.bias = s.gelu = s.pre = transpose_a, s.residual = s.gelu_of = transpose_b;
          test_case(s, Type::bf16, Type::f32);
          if (!accumulate) test_case(s, Type::bf16, Type::bf16);
        }
  Case odd{67, 131, 72, false, true};
  odd.bias = odd.residual = true;
  test_case(odd, Type::bf16, Type::bf16), test_case(odd, Type::bf16, Type::f32);
  Case deep{136, 72, 4168, true, false};
  deep.accumulate = true;
  test_case(deep, Type::bf16, Type::f32);
  for (const bool gradient : {false, true}) {
    Case stack{72, 136, 88, gradient, false};
    stack.groups = 3, stack.accumulate = gradient;
    test_case(stack, Type::bf16, Type::f32);
  }
}

TEST(matmul_epilogues) {
  for (auto [m, n, k] : {std::array<int64_t, 3>{37, 45, 33}, {15, 64, 1301}, {16, 33, 4500}})
    for (int mask = 0; mask < 32; ++mask) {
      Case s{m, n, k, false, (mask & 1) != 0};
      s.bias = mask & 1, s.gelu = mask & 2, s.pre = s.gelu && mask & 4, s.gelu_of = mask & 8, s.residual = mask & 16;
      if (mask & 4 && !s.gelu) continue;
      test_types(s);
    }
}

// Where one element is NaN or infinite, its row or column shows it, and nothing else does.
TEST(matmul_not_finite) {
  const Case s{19, 37, 45};
  for (const Type type : {Type::f32, Type::bf16})
    for (const float bad : {NAN, INFINITY})
      on_devices([&](Device& device, const std::string& name, bool) {
        Inputs in(s, type, type);
        in.a[3 * 45 + 44] = bad;
        const Outputs got = compute(s, in, type, type, [&](const auto& op) { run_op(device, op); });
        for (size_t i = 0; i < got.c.size(); ++i) EXPECT(std::isfinite(got.c[i]) == (i / 37 != 3), "matmul, not finite, " + name);
      });
}

// gelu_of's factor is the derivative of gelu: against central differences of the reference.
TEST(matmul_gelu_derivative) {
  std::vector<float> x, one{1};
  for (int i = -60; i <= 60; ++i) x.push_back(static_cast<float>(i) / 10);
  const int64_t count = static_cast<int64_t>(x.size());
  const float h = 0x1p-6f;
  std::vector<float> above = x, below = x, up(x.size()), down(x.size()), ones(x.size(), 1.0f), got(x.size(), NAN), want(x.size());
  for (float& v : above) v += h;
  for (float& v : below) v -= h;
  Reference reference;
  run(reference, Matmul{{test::f32(above, {count, 1})}, {test::f32(one, {1, 1})}, {}, {}, {}, {test::f32(up, {count, 1})}, {}, false, false, true});
  run(reference, Matmul{{test::f32(below, {count, 1})}, {test::f32(one, {1, 1})}, {}, {}, {}, {test::f32(down, {count, 1})}, {}, false, false, true});
  for (size_t i = 0; i < x.size(); ++i) want[i] = (up[i] - down[i]) / (above[i] - below[i]);
  on_devices([&](Device& device, const std::string& name, bool) {
    run_op(device, Matmul{{test::f32(ones, {count, 1})}, {test::f32(one, {1, 1})}, {}, {test::f32(x, {count, 1})}, {}, {test::f32(got, {count, 1})}, {}, false, false, false});
    EXPECT(test::error(got, want) < 1e-4, "matmul: gelu_of against differences, " + name);  // h² times the third derivative
  });
}

// With a gated linear unit behind the product, or whose gradient is the product: against the double reference, with all that may be given.
namespace {

struct Gated {
  int64_t m, hidden, k;  // of one group
  bool transpose_b, extras;  // extras: forward, bias and what is kept
  int64_t groups = 0;
};

template <class Devices> void gated_case(const Gated& s, Type type, bool backward, const Devices& devices) {
  const int64_t parts = s.groups ? s.groups : 1, rows = parts * s.m, n = backward ? s.hidden : 2 * s.hidden;
  const auto make = [&](int64_t count, unsigned seed, float scale = 1) { return type == Type::bf16 ? test::rounded(test::normal(count, seed, scale)) : test::normal(count, seed, scale); };
  const unsigned seed = static_cast<unsigned>(s.m * 7919 + s.hidden * 104729 + s.k);
  std::vector<float> av = make(rows * s.k, seed), bv = make(parts * s.k * n, seed + 1, 0.25f), biasv = test::normal(n, seed + 2), xv = make(rows * 2 * s.hidden, seed + 3, 3);
  const int64_t size = rows * (backward ? 2 * s.hidden : s.hidden);
  const auto compute = [&](Type as, const auto& run) {
    Buffer a(av, as), b(bv, as), bias(biasv, Type::f32), x(xv, as), c(std::vector<float>(static_cast<size_t>(size), NAN), as), pre(std::vector<float>(static_cast<size_t>(rows * n), NAN), as);
    const int64_t high = s.transpose_b ? n : s.k, wide = s.transpose_b ? s.k : n;
    const In in_a{a.tensor({rows, s.k})}, in_b{s.groups ? b.tensor({s.groups, high, wide}) : b.tensor({high, wide})};
    if (backward) {
      run(MatmulSwigluGradient{in_a, in_b, {x.tensor({rows, 2 * n})}, {c.tensor({rows, 2 * n})}, s.transpose_b});
    } else {
      MatmulSwiglu op{in_a, in_b, {}, {c.tensor({rows, s.hidden})}, {}, s.transpose_b};
      if (s.extras) op.bias = {bias.tensor({n})}, op.pre = {pre.tensor({rows, n})};
      run(op);
    }
    return Outputs{c.values(), s.extras && !backward ? pre.values() : std::vector<float>{}};
  };
  Reference reference;
  const Outputs want = compute(Type::f32, [&](const auto& op) { op.check(), run(reference, op); });
  // A plain loop, one term after the other.
  Outputs simple{std::vector<float>(want.c.size()), std::vector<float>(want.pre.size())};
  for (int64_t row = 0; row < rows; ++row) {
    std::vector<float> y(static_cast<size_t>(n));
    const float* b = bv.data() + row / s.m * s.k * n;
    for (int64_t j = 0; j < n; ++j)
      for (int64_t p = 0; p < s.k; ++p) y[static_cast<size_t>(j)] += av[static_cast<size_t>(row * s.k + p)] * b[s.transpose_b ? j * s.k + p : p * n + j];
    for (int64_t j = 0; j < s.hidden; ++j) {
      const size_t gate = static_cast<size_t>(row * 2 * s.hidden + j), up = gate + static_cast<size_t>(s.hidden), at = static_cast<size_t>(j);
      if (backward) {
        const float s1 = 1 / (1 + std::exp(-xv[gate]));
        simple.c[gate] = y[at] * xv[up] * s1 * (1 + xv[gate] * (1 - s1)), simple.c[up] = y[at] * xv[gate] * s1;
        continue;
      }
      float g = y[at], u = y[at + static_cast<size_t>(s.hidden)];
      if (s.extras) g += biasv[at], u += biasv[at + static_cast<size_t>(s.hidden)], simple.pre[gate] = g, simple.pre[up] = u;
      if (type == Type::bf16) g = test::rounded({g})[0], u = test::rounded({u})[0];  // a plain loop in bf16 keeps them so
      simple.c[static_cast<size_t>(row * s.hidden + j)] = g / (1 + std::exp(-g)) * u;
    }
  }
  if (type == Type::bf16) simple.c = test::rounded(simple.c), simple.pre = test::rounded(simple.pre);
  Outputs first;
  devices([&](Device& device, const std::string& name, bool is_first) {
    const Outputs got = compute(type, [&](const auto& op) { run_op(device, op); });
    const std::string what = std::string(backward ? "matmul_swiglu_gradient " : "matmul_swiglu ") + std::to_string(parts) + " of " + std::to_string(s.m) + "x" + std::to_string(s.hidden) + "x" + std::to_string(s.k) +
                             (s.transpose_b ? " transpose_b " : " ") + (s.extras ? "bias pre " : "") + name_of(type) + ", " + name;
    if (!is_first) {
      EXPECT(same_bits(got.c, first.c) && same_bits(got.pre, first.pre), what + ": other bits than with one thread");
      return;
    }
    first = got;
    const double error = test::error(got.c, want.c), allowed = test::error(simple.c, want.c);
    EXPECT(test::within(error, allowed), what + ": error " + std::to_string(error * 1e6) + "e-6, plain " + std::to_string(allowed * 1e6) + "e-6");
    if (!want.pre.empty()) EXPECT(test::within(test::error(got.pre, want.pre), test::error(simple.pre, want.pre)), what + ": pre");
  }, type == Type::bf16 && s.m > 32 && s.hidden > 32 ? test::Gpus::each : test::Gpus::alike);
}

}  // namespace

TEST(matmul_gated) {
  for (const Gated& s : {Gated{1, 1, 1, false, true}, {1, 97, 31, false, false}, {3, 5, 7, true, true}, {13, 16, 16, false, true}, {64, 33, 40, true, false}, {65, 33, 40, false, true}, {80, 48, 0, false, true},
                         {131, 70, 65, false, false}, {136, 72, 88, true, true}, {70, 19, 1100, false, true}, {97, 31, 2200, true, false}, {75, 40, 4500, false, true}, {40, 72, 24, false, true, 3}, {9, 17, 20, true, false, 2}})
    for (const Type type : {Type::f32, Type::bf16})
      for (const bool backward : {false, true}) gated_case(s, type, backward, kDevices);
}

// A GPU's tile is half gates, half what these let pass: several tiles and parts of them, rows that the copy engine takes, and gates whose place in b is not aligned.
TEST(matmul_gated_tiles) {
  for (auto [m, hidden, k, groups] : {std::array<int64_t, 4>{264, 200, 72, 0}, {136, 132, 72, 0}, {72, 136, 88, 0}, {72, 136, 88, 3}, {67, 131, 40, 2}, {40, 28, 24, 0}})
    for (const bool transpose_b : {false, true})
      for (const Type type : {Type::f32, Type::bf16}) gated_case({m, hidden, k, transpose_b, (m + transpose_b) % 2 == 0, groups}, type, false, kDevices);
}

TEST(matmul_gated_by_cublaslt) {
  for (const Gated& s : {Gated{1, 97, 31, false, true}, {40, 24, 16, true, true}, {29, 31, 300, false, false}, {7, 5, 0, true, true}, {5, 72, 24, false, true, 3}, {9, 17, 20, true, false, 2}})
    for (const Type type : {Type::f32, Type::bf16})
      for (const bool backward : {false, true}) gated_case(s, type, backward, kLibraryDevices);
}

TEST(matmul_gated_checks) {
  std::vector<float> a(12), b(18), c(20), x(24);
  const auto t = [](std::vector<float>& v, std::vector<int64_t> shape) { return test::tensor(v.data(), Type::f32, std::move(shape)); };
  const In in_a{t(a, {4, 3})};
  EXPECT(test::refuses(MatmulSwiglu{in_a, {t(b, {3, 5})}, {}, {t(c, {4, 2})}, {}, false}, "for gates"), "odd columns");
  EXPECT(test::refuses(MatmulSwiglu{in_a, {t(b, {3, 6})}, {}, {t(c, {4, 4})}, {}, false}, "half as many columns"), "c's shape");
  EXPECT(test::refuses(MatmulSwiglu{in_a, {t(b, {3, 6})}, {t(c, {5})}, {t(c, {4, 3})}, {}, false}, "bias"), "bias");
  EXPECT(test::refuses(MatmulSwiglu{in_a, {t(b, {3, 6})}, {}, {t(c, {4, 3})}, {t(x, {4, 5})}, false}, "pre must hold"), "pre's shape");
  EXPECT(test::refuses(MatmulSwiglu{in_a, {t(b, {2, 6})}, {}, {t(c, {4, 3})}, {}, false}, "sums over"), "inner sizes");
  EXPECT(test::refuses(MatmulSwigluGradient{in_a, {t(b, {3, 3})}, {t(x, {4, 6})}, {t(c, {4, 3})}, false}, "twice as many columns"), "dx's shape");
  EXPECT(test::refuses(MatmulSwigluGradient{in_a, {t(b, {3, 3})}, {t(x, {4, 6})}, {t(x, {4, 6})}, false}, "must not lie on x"), "dx on x");
}

TEST(matmul_checks) {
  std::vector<float> x(64);
  std::vector<int32_t> integers(64);
  const auto throws = [](const auto& op) {
    try {
      op.check();
    } catch (const Error& e) {
      return e.code == ErrorCode::argument;
    }
    return false;
  };
  const auto t = [&](int64_t rows, int64_t width) { return test::f32(x, {rows, width}); };
  const Matmul good{{t(2, 3)}, {t(3, 4)}, {}, {}, {}, {t(2, 4)}, {}, false, false, false};
  EXPECT(!throws(good), "matmul: a good call passes");
  Matmul bad = good;
  bad.b = {t(4, 3)};
  EXPECT(throws(bad), "matmul: inner sizes");
  bad = good, bad.c = {t(4, 2)};
  EXPECT(throws(bad), "matmul: shape of c");
  bad = good, bad.a = {test::i32(integers, {2, 3})};
  EXPECT(throws(bad), "matmul: type of a");
  bad = good, bad.bias = {t(1, 3)};
  EXPECT(throws(bad), "matmul: bias");
  bad = good, bad.residual = {t(2, 3)};
  EXPECT(throws(bad), "matmul: residual");
  bad = good, bad.gelu_of = {t(3, 4)};
  EXPECT(throws(bad), "matmul: gelu_of");
  bad = good, bad.pre = {t(2, 4)};
  EXPECT(throws(bad), "matmul: pre without gelu");
  EXPECT(throws(MatmulAccumulate{{t(2, 3)}, {t(3, 4)}, {t(2, 3)}, false, false}), "matmul_accumulate: shape of c");

  const auto stack = [&](int64_t groups, int64_t rows, int64_t width) { return test::f32(x, {groups, rows, width}); };
  const Matmul stacked{{t(4, 3)}, {stack(2, 3, 4)}, {}, {}, {}, {t(4, 4)}, {}, false, false, false};
  EXPECT(!throws(stacked), "matmul: a good stack passes");
  bad = stacked, bad.a = {t(5, 3)}, bad.c = {t(5, 4)};
  EXPECT(throws(bad), "matmul: rows that do not split");
  bad = stacked, bad.b = {stack(0, 3, 4)};
  EXPECT(throws(bad), "matmul: a stack of nothing");
  bad = stacked, bad.b = {test::f32(x, {1, 2, 3, 4})};
  EXPECT(throws(bad), "matmul: a stack of stacks");
  bad = stacked, bad.a = {t(3, 4)}, bad.transpose_a = true;
  EXPECT(throws(bad), "matmul: a stack with a transposed");
  const MatmulAccumulate sum{{t(4, 3)}, {t(4, 5)}, {stack(2, 3, 5)}, true, false};
  EXPECT(!throws(sum), "matmul_accumulate: a good stack passes");
  MatmulAccumulate wrong = sum;
  wrong.c = {stack(3, 3, 5)};
  EXPECT(throws(wrong), "matmul_accumulate: rows that do not split");
  wrong = sum, wrong.c = {stack(2, 5, 3)};
  EXPECT(throws(wrong), "matmul_accumulate: matrices of another shape");
  wrong = sum, wrong.b = {t(5, 4)}, wrong.transpose_b = true;
  EXPECT(throws(wrong), "matmul_accumulate: a stack with b transposed");
}
