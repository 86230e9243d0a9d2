#include "benchmark/matmul.h"

#include <tuple>

#include "ops/kernels.h"
#include "ops/matmul/apart.h"
#include "runtime/arena.h"
#include "runtime/bf16.h"
#include "runtime/on_isa.h"

namespace nichelm::benchmark {
namespace {

// In an arena, as the operands of a program are: its pages are the large ones where the system has them. As there, operands begin at different places of a page,
// not all at a multiple of 2 MiB, where they would be in each other's way in every cache.
struct Operand {
  Arena storage;
  int64_t first;
  Type type;

  Operand(int64_t size, Type type, uint32_t seed) : storage(size * (type == Type::bf16 ? 2 : 4) + (1 << 20)), first(seed * 41 * 1024 + seed * 64), type(type) {
    for (int64_t i = 0; i < size; ++i) {
      seed = seed * 1664525 + 1013904223;
      const float value = static_cast<float>(static_cast<int32_t>(seed)) * 0x1p-31f;
      if (type == Type::bf16) narrow(value, reinterpret_cast<Bf16*>(data())[i]);
      else reinterpret_cast<float*>(data())[i] = value;
    }
  }
  char* data() const { return storage.data() + first; }
  Tensor stack(int64_t groups, int64_t rows, int64_t width) { return {data(), type, 3, {groups, rows, width}}; }
  Tensor tensor(int64_t rows, int64_t width) { return {data(), type, 2, {rows, width}}; }
};

}  // namespace

const std::vector<MatmulCase>& matmul_cases() {
  static const std::vector<MatmulCase> cases = [] {
    std::vector<MatmulCase> all{{"square", 1024, 1024, 1024}};
    struct Model { const char* name; int64_t tokens, width, hidden, vocabulary, chunk; };  // chunk: tokens whose logits are made at once (linear_cross_entropy/output_layer.h)
    for (const Model& s : {Model{"nano", 8192, 128, 512, 4096, 1024}, Model{"mini", 4096, 256, 1024, 8192, 1024}, Model{"slm", 1024, 1024, 4096, 32000, 512}}) {
      const std::string name = s.name;
      all.push_back({.what = name + " qkv", .m = s.tokens, .n = 3 * s.width, .k = s.width});
      all.push_back({.what = name + " mlp up", .m = s.tokens, .n = s.hidden, .k = s.width});
      all.push_back({.what = name + " mlp up, gelu", .m = s.tokens, .n = s.hidden, .k = s.width, .gelu = true});
      all.push_back({.what = name + " mlp down", .m = s.tokens, .n = s.width, .k = s.hidden});
      all.push_back({.what = name + " qkv, input gradient", .m = s.tokens, .n = s.width, .k = 3 * s.width, .transpose_b = true});
      all.push_back({.what = name + " mlp down, input gradient", .m = s.tokens, .n = s.hidden, .k = s.width, .transpose_b = true});
      all.push_back({.what = name + " mlp down, input gradient, gelu'", .m = s.tokens, .n = s.hidden, .k = s.width, .transpose_b = true, .slope = true});
      all.push_back({.what = name + " projection, weight gradient", .m = s.width, .n = s.width, .k = s.tokens, .transpose_a = true, .accumulate = true});
      all.push_back({.what = name + " qkv, weight gradient", .m = s.width, .n = 3 * s.width, .k = s.tokens, .transpose_a = true, .accumulate = true});
      all.push_back({.what = name + " mlp down, weight gradient", .m = s.hidden, .n = s.width, .k = s.tokens, .transpose_a = true, .accumulate = true});
      all.push_back({.what = name + " logits of a chunk", .m = s.chunk, .n = s.vocabulary, .k = s.width, .transpose_b = true, .f32_result = true, .c_apart = true});
      all.push_back({.what = name + " logits, input gradient", .m = s.chunk, .n = s.width, .k = s.vocabulary, .a_apart = true});
      all.push_back({.what = name + " logits, weight gradient", .m = s.vocabulary, .n = s.width, .k = s.chunk, .transpose_a = true, .accumulate = true, .a_apart = true});
    }
    return all;
  }();
  return cases;
}

std::string shape_of(const MatmulCase& c) { return std::to_string(c.m) + " x " + std::to_string(c.n) + " x " + std::to_string(c.k); }

Result measure_matmul(Cpu& device, const MatmulCase& shape, Type type) {
  const auto [what, m, n, k, transpose_a, transpose_b, accumulate, gelu, slope, f32_result, a_apart, c_apart] = shape;
  const int64_t a_row = transpose_a ? m : k, from_a = !a_apart ? a_row : type == Type::bf16 ? apart<Bf16>(a_row) : apart<float>(a_row), from_c = c_apart ? apart<float>(n) : n;
  Operand a(m * k / a_row * from_a, type, 1), b(k * n, type, 2), bias(n, Type::f32, 3), c(m * from_c, accumulate || f32_result ? Type::f32 : type, 4), pre(gelu || slope ? m * n : 0, type, 5);
  const In in_a{transpose_a ? a.tensor(k, m) : a.tensor(m, k)}, in_b{transpose_b ? b.tensor(n, k) : b.tensor(k, n)};
  Rated rated;
  if (accumulate) {
    const MatmulAccumulate op{in_a, in_b, {c.tensor(m, n)}, transpose_a, transpose_b};
    rated = fastest_beside_peak(device, type, [&] { run_on_isa(device, RowsApart<MatmulAccumulate>{op, from_a}); });
  } else {
    Matmul op{in_a, in_b, {}, {}, {}, {c.tensor(m, n)}, {}, transpose_a, transpose_b, gelu};
    if (slope) op.gelu_of = {pre.tensor(m, n)};
    if (gelu) op.bias = {bias.tensor(1, n)}, op.pre = {pre.tensor(m, n)};
    rated = fastest_beside_peak(device, type, [&] { run_on_isa(device, RowsApart<Matmul>{op, from_a, from_c}); });
  }
  Result result;
  result.benchmark = "matmul", result.what = what, result.type = name_of(type);
  result.shape = shape_of(shape);
  result.seconds = rated.seconds, result.flops = 2.0 * static_cast<double>(m) * static_cast<double>(n) * static_cast<double>(k) / rated.seconds, result.peak = rated.peak;
  return result;
}

std::vector<Result> matmul(Cpu& device) {
  std::vector<Result> results;
  for (const Type type : {Type::f32, Type::bf16}) {
    for (const MatmulCase& shape : matmul_cases())
      if (wanted(shape.what, shape_of(shape), type)) results.push_back(measure_matmul(device, shape, type));
  }
  return results;
}

std::vector<Result> matmul_stacks(Cpu& device) {
  constexpr int64_t kGroups = 8, kRows = 8192;
  std::vector<Result> results;
  for (const Type type : {Type::f32, Type::bf16}) {
    for (auto [k, n] : {std::pair<int64_t, int64_t>{64, 256}, {128, 512}, {256, 1024}}) {
      const std::string shape = std::to_string(kRows) + ", " + std::to_string(k) + " x " + std::to_string(n);
      if (!wanted("stacks", shape, type)) continue;
      Operand x(kRows * k, type, 1), y(kRows * n, type, 2), weights(kGroups * k * n, type, 3), bias(n, Type::f32, 4), pre(kRows * n, type, 5), gradient(kGroups * k * n, Type::f32, 6);
      const auto compare = [&](const char* what, const auto& plain, const auto& stacked) {
        double seconds[] = {1e300, 1e300};
        const auto time = [&](double& best, const auto& op) {
          const double start = now();
          run_op(device, op);
          best = now() - start < best ? now() - start : best;
        };
        const double peak = fastest_beside_peak(device, type, [&] { time(seconds[0], plain), time(seconds[1], stacked); }, 0.3).peak;
        for (const bool stack : {false, true}) {
          Result r;
          r.benchmark = "matmul_stacks", r.what = std::string(what) + (stack ? ", 8 groups" : ", plain"), r.type = name_of(type);
          r.shape = shape;
          r.seconds = seconds[stack], r.flops = 2.0 * kRows * static_cast<double>(k * n) / r.seconds, r.peak = peak;
          results.push_back(r);
        }
      };
      const In in_x{x.tensor(kRows, k)}, in_y{y.tensor(kRows, n)};
      const auto up = [&](const Tensor& b) { return Matmul{in_x, {b}, {bias.tensor(1, n)}, {}, {}, {y.tensor(kRows, n)}, {pre.tensor(kRows, n)}, false, false, true}; };
      const auto down = [&](const Tensor& b) { return Matmul{in_y, {b}, {}, {}, {}, {x.tensor(kRows, k)}, {}, false, true, false}; };
      const auto weight = [&](const Tensor& c) { return MatmulAccumulate{in_x, in_y, {c}, true, false}; };
      compare("up, gelu", up(weights.tensor(k, n)), up(weights.stack(kGroups, k, n)));
      compare("input gradient", down(weights.tensor(k, n)), down(weights.stack(kGroups, k, n)));
      compare("weight gradient", weight(gradient.tensor(k, n)), weight(gradient.stack(kGroups, k, n)));
    }
  }
  return results;
}

std::vector<Result> matmul_gated(Cpu& device) {
  std::vector<Result> results;
  for (const Type type : {Type::f32, Type::bf16})
    for (auto [what, rows, width, hidden] : {std::tuple<const char*, int64_t, int64_t, int64_t>{"nano", 8192, 128, 344}, {"mini", 4096, 256, 688}, {"slm", 1024, 1024, 2736}}) {
      const std::string shape = std::to_string(rows) + " x " + std::to_string(width) + " x " + std::to_string(hidden);
      if (!wanted(what, shape, type)) continue;
      Operand x(rows * width, type, 1), up(width * 2 * hidden, type, 2), down(hidden * width, type, 3), pre(rows * 2 * hidden, type, 4), y(rows * hidden, type, 5), slopes(rows * 2 * hidden, type, 6), dy(rows * hidden, type, 7);
      const In in_x{x.tensor(rows, width)}, in_up{up.tensor(width, 2 * hidden)}, in_down{down.tensor(hidden, width)};
      const Tensor kept = pre.tensor(rows, 2 * hidden), out = y.tensor(rows, hidden), of_out = dy.tensor(rows, hidden), of_kept = slopes.tensor(rows, 2 * hidden);
      const auto compare = [&](const std::string& part, double flops, const auto& apart, const auto& joined) {
        double seconds[] = {1e300, 1e300};
        const auto time = [&](double& best, const auto& body) {
          const double start = now();
          body();
          best = std::min(best, now() - start);
        };
        const double peak = fastest_beside_peak(device, type, [&] { time(seconds[0], apart), time(seconds[1], joined); }, 0.3).peak;
        for (const bool join : {false, true}) {
          Result r;
          r.benchmark = "matmul_gated", r.what = what + (" " + part) + (join ? ", joined" : ", apart"), r.type = name_of(type), r.shape = shape;
          r.seconds = seconds[join], r.flops = flops / r.seconds, r.peak = peak;
          results.push_back(r);
        }
      };
      const double flops = 2.0 * static_cast<double>(rows * width) * static_cast<double>(hidden);
      compare("gated up", 2 * flops, [&] { run_op(device, Matmul{in_x, in_up, {}, {}, {}, {kept}, {}, false, false, false}), run_op(device, Swiglu{{kept}, {out}}); },
              [&] { run_op(device, MatmulSwiglu{in_x, in_up, {}, {out}, {kept}, false}); });
      compare("its gradient", flops, [&] { run_op(device, Matmul{in_x, in_down, {}, {}, {}, {of_out}, {}, false, true, false}), run_op(device, SwigluGradient{{of_out}, {kept}, {of_kept}}); },
              [&] { run_op(device, MatmulSwigluGradient{in_x, in_down, {kept}, {of_kept}, true}); });
    }
  return results;
}

}  // namespace nichelm::benchmark
