// The matrix product at a square shape and at the shapes of the models' training steps.
#pragma once
#include "benchmark/benchmark.h"

namespace nichelm::benchmark {

struct MatmulCase {
  std::string what;
  int64_t m, n, k;
  bool transpose_a = false, transpose_b = false;
  bool accumulate = false;  // c += a · b in f32: the gradient of a weight
  bool gelu = false;        // bias and gelu, pre kept: the first product of an MLP
  bool slope = false;       // by the derivative of a gelu at what was kept: the gradient of the second product of an MLP by its input
  bool f32_result = false;  // of bf16 operands too
  bool a_apart = false, c_apart = false;  // rows of a, of c, as the output layer has its logits' (ops/matmul/apart.h)
};

// Forward, gradient of the input and gradient of the weight of each kind of product in a step of `nano`, `mini` and `slm`, and 1024 x 1024 x 1024.
const std::vector<MatmulCase>& matmul_cases();

Result measure_matmul(Cpu& device, const MatmulCase& shape, Type type);

// All cases in f32 and bf16.
std::vector<Result> matmul(Cpu& device);

// Products of a step of a projected network, whose groups of rows have a matrix each, beside the same products with one matrix; the two run in turns.
std::vector<Result> matmul_stacks(Cpu& device);

// Products with a gated linear unit behind them, or the gradient of one, beside the same as two calls; the two run in turns.
std::vector<Result> matmul_gated(Cpu& device);

// Products of one row and of 64, as generating text makes them, at the shapes of `nano`, `mini` and `slm`, by weights that lie in memory; shares are of reading.
std::vector<Result> matmul_thin(Cpu& device);

std::string shape_of(const MatmulCase& c);

}  // namespace nichelm::benchmark
