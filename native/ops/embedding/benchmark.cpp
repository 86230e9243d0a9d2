// Token and position embedding of a batch, and the gradient of both tables. Bytes are those of y or dy and of the rows read or added to.
#include "benchmark/benchmark.h"
#include "ops/kernels.h"

namespace nichelm::benchmark {
namespace {

struct Case { const char* what; int64_t rows, length, width, vocabulary; };
constexpr Case kCases[] = {{"nano", 32, 256, 128, 4096}, {"mini", 16, 256, 256, 8192}, {"gpt2", 4, 1024, 768, 50257}};

std::vector<Result> embedding(Cpu& device) {
  std::vector<Result> results;
  for (const Type type : {Type::f32, Type::bf16})
    for (const Case& c : kCases) {
      const int64_t places = c.rows * c.length;
      std::vector<float> y(static_cast<size_t>(places * c.width)), token_table(static_cast<size_t>(c.vocabulary * c.width)), position_table(static_cast<size_t>(c.length * c.width));
      std::vector<int32_t> tokens(static_cast<size_t>(places)), starts(tokens);
      uint32_t random = 1;
      for (int32_t& token : tokens) {  // low ones are frequent, as in text
        random = random * 1664525 + 1013904223;
        const double u = random * 0x1p-32;
        token = static_cast<int32_t>(u * u * u * static_cast<double>(c.vocabulary));
      }
      const auto table = [](std::vector<float>& data, Type t, int64_t rows, int64_t width) { return Tensor{data.data(), t, 2, {rows, width}}; };
      const auto list = [&](std::vector<int32_t>& data) { return Tensor{data.data(), Type::i32, 2, {c.rows, c.length}}; };
      const Embedding forward{{list(tokens)}, {list(starts)}, {table(token_table, type, c.vocabulary, c.width)}, {table(position_table, type, c.length, c.width)}, {table(y, type, places, c.width)}};
      const EmbeddingGradient gradient{{table(y, type, places, c.width)}, {list(tokens)}, {list(starts)}, {table(token_table, Type::f32, c.vocabulary, c.width)}, {table(position_table, Type::f32, c.length, c.width)}};
      for (bool backward : {false, true}) {
        Result r;
        r.benchmark = "embedding", r.what = std::string(c.what) + (backward ? " gradient" : ""), r.type = name_of(type);
        r.shape = std::to_string(places) + " x " + std::to_string(c.width) + " of " + std::to_string(c.vocabulary);
        r.seconds = fastest([&] { backward ? run_op(device, gradient) : run_op(device, forward); }, 0.05);
        r.bytes = static_cast<double>(places * c.width * (backward ? 2 * bytes_of(type) + 16 : 3 * bytes_of(type))) / r.seconds;
        results.push_back(r);
      }
    }
  return results;
}

const Register registered("embedding", embedding);

}  // namespace
}  // namespace nichelm::benchmark
