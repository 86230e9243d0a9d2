#include "cluster/sparse.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "ops/kernels.h"

namespace nichelm::cluster {
namespace {

constexpr int64_t kRowsAtOnce = 64;
constexpr int64_t kGramChunks = 32;

In matrix(const float* data, int64_t rows, int64_t width) { return {{const_cast<float*>(data), Type::f32, 2, {rows, width}}}; }

}  // namespace

Sparse transposed(const Sparse& a) {
  Sparse t;
  t.columns = a.rows();
  t.offset.assign(static_cast<size_t>(a.columns) + 1, 0);
  for (const int32_t c : a.column) ++t.offset[static_cast<size_t>(c) + 1];
  for (int64_t c = 0; c < a.columns; ++c) t.offset[c + 1] += t.offset[c];
  t.column.resize(a.column.size());
  t.value.resize(a.value.size());
  std::vector<int64_t> next(t.offset.begin(), t.offset.end() - 1);
  for (int64_t r = 0; r < a.rows(); ++r)
    for (int64_t i = a.offset[r]; i < a.offset[r + 1]; ++i) {
      const int64_t at = next[a.column[i]]++;
      t.column[at] = static_cast<int32_t>(r);
      t.value[at] = a.value[i];
    }
  return t;
}

void multiply(Cpu& device, const Sparse& a, const float* x, float* y, int64_t width) {
  const Kernels& kernels = kernels_for(device.isa());
  const SparseView view{a.offset.data(), a.column.data(), a.value.data()};
  const int64_t rows = a.rows();
  device.each((rows + kRowsAtOnce - 1) / kRowsAtOnce, [&](int64_t task, int) {
    kernels.sparse_rows(view, x, y, width, task * kRowsAtOnce, std::min(rows, (task + 1) * kRowsAtOnce));
  });
}

std::vector<double> gram(Cpu& device, const float* x, int64_t rows, int64_t width) {
  const Kernels& kernels = kernels_for(device.isa());
  const int64_t step = std::max(kGramRows, (rows + kGramChunks - 1) / kGramChunks), chunks = (rows + step - 1) / step;
  std::vector<double> parts(static_cast<size_t>(std::max<int64_t>(1, chunks) * width * width));
  std::vector<std::vector<double>> scratch(static_cast<size_t>(device.threads()));
  device.each(chunks, [&](int64_t chunk, int thread) {
    auto& own = scratch[static_cast<size_t>(thread)];
    own.resize(static_cast<size_t>(gram_scratch(width)));
    kernels.gram(x + chunk * step * width, std::min(step, rows - chunk * step), width, &parts[static_cast<size_t>(chunk * width * width)], own.data());
  });
  for (int64_t chunk = 1; chunk < chunks; ++chunk)
    for (int64_t i = 0; i < width * width; ++i) parts[i] += parts[chunk * width * width + i];
  parts.resize(static_cast<size_t>(width * width));
  return parts;
}

void multiply_dense(Cpu& device, const float* x, const float* m, float* y, int64_t rows, int64_t width, int64_t columns) {
  if (rows == 0) return;
  Matmul op{};
  op.a = matrix(x, rows, width);
  op.b = matrix(m, width, columns);
  op.c = Out{{y, Type::f32, 2, {rows, columns}}};
  run_op(device, op);
}

void orthonormalise(Cpu& device, float* x, float* scratch, int64_t rows, int64_t width) {
  std::vector<double> g = gram(device, x, rows, width);
  // g = rᵀ r, row by row; a pivot that is nothing but rounding of what it came from marks a dependent column.
  std::vector<double> r(static_cast<size_t>(width * width)), inverse(r.size());
  for (int64_t i = 0; i < width; ++i) {
    double pivot = g[i * width + i];
    for (int64_t k = 0; k < i; ++k) pivot -= r[k * width + i] * r[k * width + i];
    if (!(pivot > 1e-11 * g[i * width + i])) continue;
    r[i * width + i] = std::sqrt(pivot);
    for (int64_t j = i + 1; j < width; ++j) {
      double sum = g[i * width + j];
      for (int64_t k = 0; k < i; ++k) sum -= r[k * width + i] * r[k * width + j];
      r[i * width + j] = sum / r[i * width + i];
    }
  }
  for (int64_t j = 0; j < width; ++j) {
    if (r[j * width + j] == 0) continue;
    inverse[j * width + j] = 1 / r[j * width + j];
    for (int64_t i = j - 1; i >= 0; --i) {
      if (r[i * width + i] == 0) continue;
      double sum = 0;
      for (int64_t k = i + 1; k <= j; ++k) sum += r[i * width + k] * inverse[k * width + j];
      inverse[i * width + j] = -sum / r[i * width + i];
    }
  }
  const std::vector<float> m(inverse.begin(), inverse.end());
  multiply_dense(device, x, m.data(), scratch, rows, width, width);
  std::memcpy(x, scratch, static_cast<size_t>(rows * width) * sizeof(float));
}

}  // namespace nichelm::cluster
