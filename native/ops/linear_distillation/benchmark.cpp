// Distillation beside plain cross-entropy, forward and backward: what the teacher costs. FLOP counts are of the products alone.
#include "benchmark/benchmark.h"
#include "ops/kernels.h"

namespace nichelm::benchmark {
namespace {

struct Case { const char* what; int64_t tokens, width, vocabulary; };
constexpr Case kCases[] = {{"nano", 4096, 128, 4096}, {"slm", 512, 1024, 32000}};
constexpr int64_t kMostProbable = 64;

std::vector<Result> linear_distillation(Cpu& device) {
  std::vector<Result> results;
  for (const Type type : {Type::f32, Type::bf16})
    for (const Case& c : kCases) {
      const auto sized = [](int64_t size, float value) { return std::vector<float>(static_cast<size_t>(size), value); };
      auto x = sized(c.tokens * c.width, 0.01f), weight = sized(c.vocabulary * c.width, 0.02f), token_weights = sized(c.tokens, 1e-3f), nll = token_weights, loss = sized(1, 0), dx = x,
           dweight = sized(c.vocabulary * c.width, 0), teacher = sized(c.tokens * c.vocabulary, 0), probabilities = sized(c.tokens * kMostProbable, 1e-3f);
      std::vector<int32_t> targets(static_cast<size_t>(c.tokens), 1), ids(probabilities.size());
      for (size_t i = 0; i < ids.size(); ++i) ids[i] = static_cast<int32_t>(i % kMostProbable * 61);
      const auto table = [](void* data, Type t, int64_t rows, int64_t width) { return Tensor{data, t, 2, {rows, width}}; };
      const auto list = [](void* data, Type t, int64_t size) { return Tensor{data, t, 1, {size}}; };
      LinearDistillationGradient op{{table(x.data(), type, c.tokens, c.width)}, {table(weight.data(), type, c.vocabulary, c.width)}, {list(targets.data(), Type::i32, c.tokens)},
                                    {list(token_weights.data(), Type::f32, c.tokens)}, {}, {}, {}, {list(nll.data(), Type::f32, c.tokens)}, {list(loss.data(), Type::f32, 1)},
                                    {table(dx.data(), type, c.tokens, c.width)}, {table(dweight.data(), Type::f32, c.vocabulary, c.width)}, 0.5f, 2};
      const LinearCrossEntropyGradient without{op.x, op.weight, op.targets, op.token_weights, op.nll, op.loss, op.dx, op.dweight};
      const auto add = [&](const char* teacher_form, auto&& call) {
        Result r;
        r.seconds = fastest(call);
        r.benchmark = "linear_distillation", r.what = std::string(c.what) + ", " + teacher_form, r.type = name_of(type);
        r.shape = std::to_string(c.tokens) + " x " + std::to_string(c.vocabulary) + " x " + std::to_string(c.width);
        r.flops = 6.0 * static_cast<double>(c.tokens * c.width) * static_cast<double>(c.vocabulary) / r.seconds;
        results.push_back(r);
      };
      add("no teacher", [&] { run_op(device, without); });
      op.teacher = {table(teacher.data(), Type::f32, c.tokens, c.vocabulary)};
      add("teacher's logits", [&] { run_op(device, op); });
      op.teacher = {}, op.ids = {table(ids.data(), Type::i32, c.tokens, kMostProbable)}, op.probabilities = {table(probabilities.data(), Type::f32, c.tokens, kMostProbable)};
      add("teacher's 64 most probable", [&] { run_op(device, op); });
    }
  return results;
}

const Register registered("linear_distillation", linear_distillation);

}  // namespace
}  // namespace nichelm::benchmark
