#include "benchmark/attention.h"

#include "ops/kernels.h"
#include "runtime/bf16.h"

namespace nichelm::benchmark {
namespace {

Aligned<float> values(int64_t size, Type type, uint32_t seed) {
  Aligned<float> storage(static_cast<size_t>(type == Type::bf16 ? (size + 1) / 2 : size));
  for (int64_t i = 0; i < size; ++i) {
    seed = seed * 1664525 + 1013904223;
    const float value = static_cast<float>(static_cast<int32_t>(seed)) * 0x1p-31f;
    if (type == Type::bf16) narrow(value, reinterpret_cast<Bf16*>(storage.data())[i]);
    else storage[static_cast<size_t>(i)] = value;
  }
  return storage;
}

}  // namespace

const std::vector<AttentionCase>& attention_cases() {
  static const std::vector<AttentionCase> cases{
      {"nano", 8, 256, 4, 4, 32},   {"nano, documents of 64", 8, 256, 4, 4, 32, 64}, {"mini", 8, 256, 4, 4, 64}, {"gpt2", 1, 1024, 12, 12, 64}, {"slm", 1, 1024, 8, 8, 128},
      {"slm, 2 key heads", 1, 1024, 8, 2, 128},
  };
  return cases;
}

std::string shape_of(const AttentionCase& c) { return std::to_string(c.rows) + " x " + std::to_string(c.length) + " x " + std::to_string(c.heads) + " x " + std::to_string(c.d); }

std::vector<Result> measure_attention(Cpu& device, const AttentionCase& shape, Type type) {
  const auto [what, rows, length, heads, kv_heads, d, document] = shape;
  const int64_t width = (heads + 2 * kv_heads) * d, tokens = rows * length;
  Aligned<float> qkv = values(tokens * width, type, 1), dy = values(tokens * heads * d, type, 2), y(dy.size()), dqkv(qkv.size()), lse(static_cast<size_t>(tokens * heads));
  std::vector<int32_t> starts;
  double visible = 0;
  for (int64_t i = 0; i < tokens; ++i) {
    const int64_t t = i % length, start = document ? t / document * document : 0;
    starts.push_back(static_cast<int32_t>(start));
    visible += static_cast<double>((t - start + 1) * heads);
  }
  const auto in = [type = type](Aligned<float>& x, int64_t n, int64_t t, int64_t w) { return Tensor{x.data(), type, 3, {n, t, w}}; };
  const Tensor x = in(qkv, rows, length, width), out = in(y, rows, length, heads * d), at{starts.data(), Type::i32, 2, {rows, length}}, logs{lse.data(), Type::f32, 3, {rows, heads, length}};
  const Attention forward{{x}, {at}, {out}, {logs}, heads, kv_heads};
  const AttentionGradient backward{{in(dy, rows, length, heads * d)}, {x}, {at}, {out}, {logs}, {in(dqkv, rows, length, width)}, heads, kv_heads};
  const Rated there = fastest_beside_peak(device, type, [&] { run_op(device, forward); }), back = fastest_beside_peak(device, type, [&] { run_op(device, backward); });
  const double peak = std::max(there.peak, back.peak);
  std::vector<Result> results;
  const auto report = [&, what = what, d = d, visible = visible](const char* direction, double time, double products) {
    Result result;
    result.benchmark = "attention", result.what = what + ", " + direction, result.type = name_of(type), result.peak = peak;
    result.shape = shape_of(shape);
    result.seconds = time, result.flops = 2.0 * products * visible * static_cast<double>(d) / time;
    results.push_back(result);
  };
  report("forward", there.seconds, 2);
  report("backward", back.seconds, 5);
  report("both", there.seconds + back.seconds, 7);
  return results;
}

std::vector<Result> attention(Cpu& device) {
  std::vector<Result> results;
  for (const Type type : {Type::f32, Type::bf16})
    for (const AttentionCase& shape : attention_cases())
      if (wanted(shape.what, shape_of(shape), type))
        for (Result& result : measure_attention(device, shape, type)) results.push_back(std::move(result));
  return results;
}

}  // namespace nichelm::benchmark
