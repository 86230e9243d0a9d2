// A product by nichelm's kernels or by cuBLASLt, as cuda/products.h says. cuBLASLt adds a residual, or what c holds already; every other epilogue follows in a
// kernel of its own on sums in f32, with the formulas of nichelm's products.
#pragma once
#include <algorithm>

#include "cuda/products.h"
#include "ops/matmul/cuda_product.h"

namespace nichelm {
namespace {

inline std::string words_of(const Epilogue& e) {
  std::string words;
  const auto add = [&](bool present, const char* word) {
    if (present) words += (words.empty() ? "" : ", ") + std::string(word);
  };
  add(e.accumulate, "accumulated"), add(e.bias, "bias"), add(e.pre, "kept"), add(e.gelu, "gelu"), add(e.gelu_of, "gelu's gradient"), add(e.residual, "residual"), add(e.swiglu, "swiglu"), add(e.swiglu_of, "swiglu's gradient");
  return words;
}

// Median seconds of a product that is computed again and again.
template <class Calls> double seconds_of(Cuda& device, const Calls& calls) {
  constexpr double kEnough = 2e-3;
  calls();  // loads kernels
  const double once = device.seconds(calls, 1);
  const int times = once > 0 ? static_cast<int>(std::clamp(kEnough / once, 1.0, 50.0)) : 50;
  double all[3];
  for (double& one : all) one = device.seconds(calls, times);
  std::sort(all, all + 3);
  return all[1];
}

// own(p) runs nichelm's kernels, finish(p) the epilogue on p.partial, one part.
template <class T, class Own, class Finish> void multiply_by_choice(Cuda& device, const ProductOf<T>& p, bool transpose_a, bool transpose_b, const Own& own, const Finish& finish) {
  constexpr int kPartial = 3, kWorkspace = 4, kTrial = 5;  // scratch
  if (p.m == 0 || p.n == 0 || p.k == 0 || p.groups == 0 || !device.products().choose()) return own(p);
  const bool whole = !p.epilogue.bias && !p.epilogue.pre && !p.epilogue.gelu && !p.epilogue.gelu_of && !p.epilogue.swiglu && !p.epilogue.swiglu_of;
  const auto by_library = [&](const ProductOf<T>& of) {
    LibraryProduct product{of.a, of.b, nullptr, of.epilogue.c, of.m, of.n, of.k, of.groups, of.a_stride, of.b_stride, of.c_stride, transpose_a, transpose_b, sizeof(T) == 2, of.epilogue.c_is_bf16};
    if (whole) product.addend = of.epilogue.accumulate ? of.epilogue.c : of.epilogue.residual;
    else product.c = device.scratch_of<float>(of.groups * of.m * of.n, kPartial), product.c_is_bf16 = false;
    return product;
  };
  const auto multiply = [&](const ProductOf<T>& of, const CublasLt::Plan& plan) {
    const LibraryProduct product = by_library(of);
    device.products().library().multiply(product, plan, device.scratch(plan.workspace, kWorkspace), device.stream());
    if (whole) return;
    ProductOf<T> sums = of;
    sums.partial = static_cast<float*>(product.c), sums.splits = 1;
    finish(sums);
  };
  const auto seconds = [&](const CublasLt::Plan* plan) {
    const int64_t size = p.groups * p.m * p.n * (p.epilogue.swiglu_of ? 2 : 1), bytes = divide_up(size * (p.epilogue.c_is_bf16 ? 2 : 4), 256) * 256;
    ProductOf<T> trial = p;  // results go where nobody reads them: c may be an operand as well
    char* memory = device.scratch_of<char>(p.epilogue.pre ? 2 * bytes : bytes, kTrial);
    trial.epilogue.c = memory;
    if (p.epilogue.pre) trial.epilogue.pre = memory + bytes;
    return seconds_of(device, [&] { plan ? multiply(trial, *plan) : own(trial); });
  };
  const CublasLt::Plan* plan = device.products().plan(by_library(p), words_of(p.epilogue), device.recording(), seconds);
  plan ? multiply(p, *plan) : own(p);
}

}  // namespace
}  // namespace nichelm
