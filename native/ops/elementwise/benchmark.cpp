// Element-wise work on operands far larger than the caches, beside plain streaming in the same run. Bytes are those of the operands, each moved once.
#include "benchmark/benchmark.h"
#include "ops/cross_entropy_rows.h"
#include "ops/kernels.h"

namespace nichelm::benchmark {
namespace {

constexpr int64_t kRows = 16384, kWidth = 1024, kSize = kRows * kWidth;

// y = x, by the compiler's plain loop on all threads: bytes read and written a second.
double streaming(Cpu& device, const float* x, float* y) {
  const double seconds = fastest([&] {
    device.split(kSize, [&](int64_t first, int64_t last) {
      for (int64_t i = first; i < last; ++i) y[i] = 2 * x[i];
    });
  });
  return 8.0 * kSize / seconds;
}

std::vector<Result> elementwise(Cpu& device) {
  Aligned<float> a(kSize, 0.5f), b(kSize, 0.25f), c(kSize, 0.125f), d(kSize, 0.0625f), list(4 * kWidth, 1), rows(2 * kRows, 0.5f);
  Aligned<float> clip{1}, schedule{1e-6f, 1, 1};
  double before = streaming(device, a.data(), b.data());
  std::vector<Result> results;
  // Beside the faster of streaming just before and just after: what else a shared machine does changes from second to second.
  const auto add = [&](const char* what, Type type, double bytes, double seconds) {
    const double after = streaming(device, a.data(), b.data());
    Result r;
    r.benchmark = "elementwise", r.what = what, r.shape = std::to_string(kRows) + " x " + std::to_string(kWidth), r.type = name_of(type);
    r.seconds = seconds, r.bytes = bytes / seconds, r.peak_bytes = std::max(before, after);
    before = after;
    results.push_back(r);
  };
  add("streaming, y = 2 x", Type::f32, 8.0 * kSize, 8.0 * kSize / before);
  for (const Type type : {Type::f32, Type::bf16}) {
    const double each = static_cast<double>(bytes_of(type)) * kSize;
    const auto table = [&](Aligned<float>& data) { return Tensor{data.data(), type, 2, {kRows, kWidth}}; };
    const auto vector = [&](int64_t at) { return Tensor{list.data() + at * kWidth, Type::f32, 1, {kWidth}}; };
    const auto column = [&](int64_t at) { return Tensor{rows.data() + at * kRows, Type::f32, 1, {kRows}}; };
    const auto measure = [&](const char* what, double operands, const auto& op) { add(what, type, operands * each, fastest([&] { run_op(device, op); })); };
    measure("add", 3, Add{{table(a)}, {table(b)}, {table(c)}});
    measure("gelu", 2, Gelu{{table(a)}, {table(c)}});
    measure("gelu gradient", 3, GeluGradient{{table(a)}, {table(b)}, {table(c)}});
    measure("layer norm", 2, LayerNorm{{table(a)}, {vector(0)}, {vector(1)}, {table(c)}, {column(0)}, {column(1)}, 1e-5f});
    measure("layer norm gradient", 4, LayerNormGradient{{table(a)}, {table(b)}, {vector(0)}, {column(0)}, {column(1)}, {table(d)}, {table(c)}, {vector(2)}, {vector(3)}});
    measure("column sum", 1, ColumnSum{{table(a)}, {vector(2)}});
    measure("RMS norm", 2, RmsNorm{{table(a)}, {vector(0)}, {table(c)}, {column(0)}, 1e-5f});
    measure("RMS norm gradient", 4, RmsNormGradient{{table(a)}, {table(b)}, {vector(0)}, {column(0)}, {table(d)}, {table(c)}, {vector(2)}});
  }
  // Logits read, gradients written: what the output layer does between its products. The values drift from run to run; the time does not depend on them.
  std::vector<int32_t> targets(kRows, 1);
  for (const Type type : {Type::f32, Type::bf16}) {
    const CrossEntropyRows pass{{a.data(), Type::f32, 2, {kRows, kWidth}}, {type == Type::f32 ? a.data() : c.data(), type, 2, {kRows, kWidth}}, targets.data(), rows.data(), b.data()};
    add("cross-entropy and its gradient", type, (4.0 + static_cast<double>(bytes_of(type))) * kSize, fastest([&] { cross_entropy_rows(device, pass); }));
  }
  const auto all = [](Aligned<float>& data) { return Tensor{data.data(), Type::f32, 1, {static_cast<int64_t>(data.size())}}; };
  Aligned<uint16_t> copy(kSize);
  const Adamw step{{all(a)}, {all(clip)}, {all(schedule)}, {all(b)}, {all(c)}, {all(d)}, {{copy.data(), Type::bf16, 1, {kSize}}}, 0.9f, 0.95f, 1e-8f, 0.1f};
  add("AdamW with bf16 copy", Type::f32, 30.0 * kSize, fastest([&] { run_op(device, step); }));
  return results;
}

const Register registered("elementwise", elementwise);

}  // namespace
}  // namespace nichelm::benchmark
