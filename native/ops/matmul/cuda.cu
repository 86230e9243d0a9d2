// CUDA kernels: products of bf16 by tensor cores (cuda_bf16.h, cuda_hopper.h), of f32 by ordinary multiply-adds (cuda_f32.h), the epilogue on each tile (cuda_epilogue.h).
// Where the environment asks for it, products are cuBLASLt's instead (cuda_library.h).
// Long sums with few tiles are cut into parts, which a second kernel adds in their order; how many depends on the shape alone, and not on the number of groups.
#include "ops/matmul/matmul.h"

#include "ops/matmul/cuda_bf16.h"
#include "ops/matmul/cuda_f32.h"
#include "ops/matmul/cuda_library.h"

namespace nichelm {
namespace {

// Enough blocks for two on every multiprocessor of a large GPU, as long as a part is worth its pass over c.
int64_t splits_of(int64_t m, int64_t n, int64_t k) {
  constexpr int64_t kBlocks = 256, kTile = 128, kLeastDepth = 2048;
  const int64_t tiles = divide_up(m, kTile) * divide_up(n, kTile), wanted = tiles ? divide_up(kBlocks, tiles) : 1, most = k / kLeastDepth;
  return wanted < most ? wanted : most > 1 ? most : 1;
}

constexpr int kAddThreads = 256;
constexpr int64_t kMostSize = int64_t{1} << 31;

// c of each group from the sums of its splits: partial (splits, groups, m, n).
template <int kCount, class C> __global__ void __launch_bounds__(kAddThreads) add_splits(const float* partial, int64_t splits, int64_t size, int64_t n, int64_t c_stride, Epilogue epilogue) {
  const int64_t at = (int64_t{blockIdx.x} * kAddThreads + threadIdx.x) * kCount, group = blockIdx.y, groups = gridDim.y;
  if (at >= size) return;
  float x[kCount] = {};
  for (int64_t s = 0; s < splits; ++s) {
    float part[kCount];
    load_vector<kCount>(partial + (s * groups + group) * size + at, part);
#pragma unroll
    for (int j = 0; j < kCount; ++j) x[j] += part[j];
  }
  finish<kCount, C>(of_group(epilogue, group * c_stride), at, at % n, x);
}

// As add_splits, `at` being an element of c (m, hidden).
template <int kCount, class C> __global__ void __launch_bounds__(kAddThreads) add_gated_splits(const float* partial, int64_t splits, int64_t m, int64_t hidden, Epilogue epilogue) {
  const int64_t at = (int64_t{blockIdx.x} * kAddThreads + threadIdx.x) * kCount, group = blockIdx.y, groups = gridDim.y;
  if (at >= m * hidden) return;
  const int64_t row = at / hidden, column = at % hidden;
  float gate[kCount] = {}, up[kCount] = {};
  for (int64_t s = 0; s < splits; ++s) {
    const float* from = partial + ((s * groups + group) * m + row) * 2 * hidden + column;
    float part[kCount], part_up[kCount];
    load_vector<kCount>(from, part), load_vector<kCount>(from + hidden, part_up);
#pragma unroll
    for (int j = 0; j < kCount; ++j) gate[j] += part[j], up[j] += part_up[j];
  }
  finish_gated<kCount, C>(of_gated_group(epilogue, group * m * 2 * hidden), row, column, hidden, gate, up);
}

template <class C, class T> void add_all_gated_splits(Cuda& device, const ProductOf<T>& p) {
  const int64_t hidden = p.n / 2;
  const auto add = [&](auto count) {
    const dim3 grid(static_cast<unsigned>(divide_up(p.m * hidden, count * kAddThreads)), static_cast<unsigned>(p.groups));
    device.launch("add_gated_splits", add_gated_splits<count, C>, grid, kAddThreads, 0, p.partial, p.splits, p.m, hidden, p.epilogue);
  };
  if (hidden % 4 == 0) add(std::integral_constant<int, 4>{});
  else add(std::integral_constant<int, 1>{});
}

template <class C, class T> void add_all_splits(Cuda& device, const ProductOf<T>& p) {
  const int64_t size = p.m * p.n;
  const auto add = [&](auto count) {
    const dim3 grid(static_cast<unsigned>(divide_up(size, count * kAddThreads)), static_cast<unsigned>(p.groups));
    device.launch("add_splits", add_splits<count, C>, grid, kAddThreads, 0, p.partial, p.splits, size, p.n, p.c_stride, p.epilogue);
  };
  if (p.n % 4 == 0) add(std::integral_constant<int, 4>{});
  else add(std::integral_constant<int, 1>{});
}

// m, n, k of one group.
template <class T, class Op> void multiply_all(Cuda& device, const Op& op, int64_t m, int64_t n, int64_t k, int64_t groups, const Epilogue& epilogue) {
  require(m < kMostSize && n < kMostSize && k < kMostSize, "matmul: on CUDA a matrix must have fewer than 2^31 rows and columns");
  const auto add = [&](const ProductOf<T>& p) {
    if (p.epilogue.swiglu) add_all_gated_splits<T>(device, p);
    else p.epilogue.c_is_bf16 ? add_all_splits<Bf16>(device, p) : add_all_splits<float>(device, p);
  };
  const auto own = [&](ProductOf<T> p) {
    if (p.splits > 1) {
      p.split_k = divide_up(divide_up(k, p.splits), 64) * 64;  // whole steps of every kernel
      p.splits = divide_up(k, p.split_k);
      p.partial = device.scratch_of<float>(p.splits * groups * m * n, 3);
    }
    if constexpr (std::is_same_v<Op, MatmulSwiglu>) {
      if (p.splits == 1) return op.transpose_b ? multiply<false, true, true>(device, p) : multiply<false, false, true>(device, p);
    }
    if (op.transpose_a) op.transpose_b ? multiply<true, true>(device, p) : multiply<true, false>(device, p);
    else op.transpose_b ? multiply<false, true>(device, p) : multiply<false, false>(device, p);
    if (p.splits > 1) add(p);
  };
  const ProductOf<T> p{op.a.template as<const T>(), op.b.template as<const T>(), m, n, k, groups, m * k, k * n, m * n, splits_of(m, n, k), k, nullptr, epilogue};
  multiply_by_choice(device, p, op.transpose_a, op.transpose_b, own, add);
}

}  // namespace

template <> void run(Cuda& device, const Matmul& op) {
  const Epilogue epilogue{op.c.data, op.bias.as<const float>(), op.gelu_of.data, op.residual.data, op.pre.data, op.c.type == Type::bf16, op.gelu, false};
  const int64_t groups = op.groups(), m = op.m() / groups, n = op.n(), k = op.k();
  op.a.type == Type::bf16 ? multiply_all<Bf16>(device, op, m, n, k, groups, epilogue) : multiply_all<float>(device, op, m, n, k, groups, epilogue);
}

template <> void run(Cuda& device, const MatmulSwiglu& op) {
  const int64_t groups = op.groups(), m = op.m() / groups, n = op.n(), k = op.k();
  Epilogue epilogue{op.c.data, op.bias.as<const float>(), nullptr, nullptr, op.pre.data, op.a.type == Type::bf16, false, false};
  epilogue.swiglu = true;
  op.a.type == Type::bf16 ? multiply_all<Bf16>(device, op, m, n, k, groups, epilogue) : multiply_all<float>(device, op, m, n, k, groups, epilogue);
}

template <> void run(Cuda& device, const MatmulSwigluGradient& op) {
  const int64_t groups = op.groups(), m = op.m() / groups, n = op.n(), k = op.k();
  const Epilogue epilogue{op.dx.data, nullptr, nullptr, nullptr, nullptr, op.a.type == Type::bf16, false, false, op.x.data, n};
  op.a.type == Type::bf16 ? multiply_all<Bf16>(device, op, m, n, k, groups, epilogue) : multiply_all<float>(device, op, m, n, k, groups, epilogue);
}

template <> void run(Cuda& device, const MatmulAccumulate& op) {
  const Epilogue epilogue{op.c.data, nullptr, nullptr, nullptr, nullptr, false, false, true};
  const int64_t groups = op.groups(), m = op.stacked_c() ? op.m() : op.m() / groups, n = op.n(), k = op.stacked_c() ? op.k() / groups : op.k();
  op.a.type == Type::bf16 ? multiply_all<Bf16>(device, op, m, n, k, groups, epilogue) : multiply_all<float>(device, op, m, n, k, groups, epilogue);
}

NICHELM_CUDA_KERNELS(Matmul, MatmulAccumulate, MatmulSwiglu, MatmulSwigluGradient)

}  // namespace nichelm
