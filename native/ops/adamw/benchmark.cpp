// The optimizer's step over ten million parameters: the global norm, then AdamW. Both are bound by memory.
#include "benchmark/benchmark.h"
#include "ops/kernels.h"

namespace nichelm::benchmark {
namespace {

std::vector<Result> adamw(Cpu& device) {
  constexpr int64_t n = 10'000'000;
  Aligned<float> gradient(n, 0.01f), p(n, 0.5f), m(n, 0.01f), v(n, 0.01f), norm(1), clip(1), schedule{1e-6f, 1, 1};
  Aligned<uint16_t> copy(n);
  const auto list = [](Aligned<float>& data) { return Tensor{data.data(), Type::f32, 1, {static_cast<int64_t>(data.size())}}; };
  const GlobalNorm norm_op{{list(gradient)}, {}, {list(norm)}, {list(clip)}, 1};
  const Adamw step{{list(gradient)}, {list(clip)}, {list(schedule)}, {list(p)}, {list(m)}, {list(v)}, {{copy.data(), Type::bf16, 1, {n}}}, 0.9f, 0.95f, 1e-8f, 0.1f};
  Result a, b;
  a.benchmark = b.benchmark = "adamw", a.shape = b.shape = std::to_string(n), a.type = b.type = name_of(Type::f32);
  a.what = "global norm", a.seconds = fastest([&] { run_op(device, norm_op); }), a.bytes = 4.0 * n / a.seconds;
  b.what = "AdamW with bf16 copy", b.seconds = fastest([&] { run_op(device, step); }), b.bytes = 30.0 * n / b.seconds;
  return {a, b};
}

const Register registered("adamw", adamw);

}  // namespace
}  // namespace nichelm::benchmark
