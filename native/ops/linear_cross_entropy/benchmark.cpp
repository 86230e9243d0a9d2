// The output layer of the models' training steps. FLOP counts are of the products alone: what the softmax costs shows as a lower share of the peak.
#include "benchmark/benchmark.h"
#include "ops/kernels.h"
#include "runtime/peak.h"

namespace nichelm::benchmark {
namespace {

struct Case { const char* what; int64_t tokens, width, vocabulary; };
constexpr Case kCases[] = {{"nano", 4096, 128, 4096}, {"mini", 2048, 256, 8192}, {"slm", 512, 1024, 32000}};

std::vector<float> filled(int64_t size, uint32_t bits) {  // of either type
  std::vector<float> x(static_cast<size_t>(size));
  for (float& v : x) bits = bits * 1664525 + 1013904223, v = static_cast<float>(static_cast<int32_t>(bits)) * 0x1p-33f;
  return x;
}

Result measure(Cpu& device, const Case& c, Type type, bool gradient, double peak) {
  auto x = filled(c.tokens * c.width, 1), weight = filled(c.vocabulary * c.width, 2), token_weights = filled(c.tokens, 3), nll = token_weights, loss = filled(1, 4), dx = x, dweight = weight;
  std::vector<int32_t> targets(static_cast<size_t>(c.tokens), 1);
  const auto table = [](void* data, Type t, int64_t rows, int64_t width) { return Tensor{data, t, 2, {rows, width}}; };
  const auto list = [](void* data, Type t, int64_t size) { return Tensor{data, t, 1, {size}}; };
  const LinearCrossEntropyGradient op{{table(x.data(), type, c.tokens, c.width)},  {table(weight.data(), type, c.vocabulary, c.width)}, {list(targets.data(), Type::i32, c.tokens)},
                                      {list(token_weights.data(), Type::f32, c.tokens)}, {list(nll.data(), Type::f32, c.tokens)},       {list(loss.data(), Type::f32, 1)},
                                      {table(dx.data(), type, c.tokens, c.width)}, {table(dweight.data(), Type::f32, c.vocabulary, c.width)}};
  const LinearCrossEntropy forward{op.x, op.weight, op.targets, op.token_weights, op.nll, op.loss};
  Result r;
  r.seconds = gradient ? fastest([&] { run_op(device, op); }) : fastest([&] { run_op(device, forward); });
  r.benchmark = "linear_cross_entropy", r.what = std::string(c.what) + (gradient ? ", with gradient" : ""), r.type = name_of(type);
  r.shape = std::to_string(c.tokens) + " x " + std::to_string(c.vocabulary) + " x " + std::to_string(c.width);
  r.flops = (gradient ? 6.0 : 2.0) * static_cast<double>(c.tokens * c.width) * static_cast<double>(c.vocabulary) / r.seconds, r.peak = peak;
  return r;
}

std::vector<Result> linear_cross_entropy(Cpu& device) {
  std::vector<Result> results;
  for (const Type type : {Type::f32, Type::bf16}) {
    const double peak = measured_peak(device, type);
    for (const Case& c : kCases)
      for (bool gradient : {false, true}) results.push_back(measure(device, c, type, gradient, peak));
  }
  return results;
}

const Register registered("linear_cross_entropy", linear_cross_entropy);

}  // namespace
}  // namespace nichelm::benchmark
