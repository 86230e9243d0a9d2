// Layer norm and RMS norm, forward and backward. They are bound by memory: bytes are those of the operands, each moved once.
#include "benchmark/benchmark.h"
#include "ops/kernels.h"

namespace nichelm::benchmark {
namespace {

struct Case { const char* what; int64_t rows, width; };
constexpr Case kCases[] = {{"nano", 8192, 128}, {"mini", 4096, 256}, {"gpt2", 4096, 768}};

struct Operands {
  Aligned<float> dy, x, residual, dx, y, gain, bias, mean, scale, dgain, dbias;
  Operands(int64_t rows, int64_t width)
      : dy(static_cast<size_t>(rows * width), 0.5f), x(dy), residual(dy), dx(dy), y(dy), gain(static_cast<size_t>(width), 1), bias(gain), mean(static_cast<size_t>(rows), 0.25f), scale(mean), dgain(gain), dbias(gain) {}
};

template <class Run> Result measure(const std::string& what, const Case& c, Type type, int64_t operands, const Run& run_it) {
  Result r;
  r.benchmark = "norms", r.what = std::string(c.what) + " " + what, r.shape = std::to_string(c.rows) + " x " + std::to_string(c.width), r.type = name_of(type);
  r.seconds = fastest(run_it, 0.05);
  r.bytes = static_cast<double>(operands * c.rows * c.width * bytes_of(type)) / r.seconds;
  return r;
}

std::vector<Result> norms(Cpu& device) {
  std::vector<Result> results;
  for (const Type type : {Type::f32, Type::bf16})
    for (const Case& c : kCases) {
      Operands o(c.rows, c.width);
      const auto table = [&](Aligned<float>& data) { return Tensor{data.data(), type, 2, {c.rows, c.width}}; };
      const auto list = [&](Aligned<float>& data) { return Tensor{data.data(), Type::f32, 1, {static_cast<int64_t>(data.size())}}; };
      const LayerNorm layer{{table(o.x)}, {list(o.gain)}, {list(o.bias)}, {table(o.y)}, {list(o.mean)}, {list(o.scale)}, 1e-5f};
      const LayerNormGradient layer_gradient{{table(o.dy)}, {table(o.x)}, {list(o.gain)}, {list(o.mean)}, {list(o.scale)}, {table(o.residual)}, {table(o.dx)}, {list(o.dgain)}, {list(o.dbias)}};
      const RmsNorm rms{{table(o.x)}, {list(o.gain)}, {table(o.y)}, {list(o.scale)}, 1e-5f};
      const RmsNormGradient rms_gradient{{table(o.dy)}, {table(o.x)}, {list(o.gain)}, {list(o.scale)}, {table(o.residual)}, {table(o.dx)}, {list(o.dgain)}};
      results.push_back(measure("layer norm", c, type, 2, [&] { run_op(device, layer); }));
      results.push_back(measure("layer norm gradient", c, type, 4, [&] { run_op(device, layer_gradient); }));
      results.push_back(measure("RMS norm", c, type, 2, [&] { run_op(device, rms); }));
      results.push_back(measure("RMS norm gradient", c, type, 4, [&] { run_op(device, rms_gradient); }));
    }
  return results;
}

const Register registered("norms", norms);

}  // namespace
}  // namespace nichelm::benchmark
