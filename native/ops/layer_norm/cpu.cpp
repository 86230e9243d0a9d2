// CPU kernel: a row at a time while it is in the first-level cache: mean, then deviations, then the output. Rows over threads.
// The gradients of gain and bias are summed by chunks of rows.
#include "ops/layer_norm/layer_norm.h"
#include "ops/row_sums.h"
#include "ops/small.h"
#include "runtime/several.h"

namespace nichelm {
namespace {

template <class T> void normalize(const LayerNorm& op, int64_t row) {
  const int64_t width = op.x.width();
  const float *gain = op.gain.as<float>(), *bias = op.bias.as<float>();
  const T* x = op.x.as<T>() + row * width;
  T* y = op.y.as<T>() + row * width;
  Several<kSeveral> sum = {}, squares = {};
  over_several(0, width, [&](int64_t i, auto lanes, auto n) NICHELM_INLINE_LAMBDA {
    fetch_several<n()>(y + i);
    add_to(sum, load_several<n()>(x + i, lanes));
  });
  const float mean = sum_of(sum) / static_cast<float>(width);
  over_several(0, width, [&](int64_t i, auto lanes, auto n) NICHELM_INLINE_LAMBDA {
    fetch_several<n()>(x + width + i);  // the next row
    const auto deviation = inside(load_several<n()>(x + i, lanes) - mean, lanes);
    add_to(squares, deviation * deviation);
  });
  const float scale = 1 / __builtin_sqrtf(sum_of(squares) / static_cast<float>(width) + op.epsilon);
  over_several<kOfLine<T>>(0, width, [&](int64_t i, auto lanes, auto n) NICHELM_INLINE_LAMBDA {
    store_several((load_several<n()>(x + i, lanes) - mean) * scale * load_several<n()>(gain + i, lanes) + load_several<n()>(bias + i, lanes), y + i, lanes);
  });
  op.mean.as<float>()[row] = mean;
  op.scale.as<float>()[row] = scale;
}

template <class T> void layer_norm(Cpu& device, const LayerNorm& op) {
  split_elements(device, op.x.rows(), op.x.size(), [&](int64_t first, int64_t last) {
    for (int64_t row = first; row < last; ++row) normalize<T>(op, row);
  });
}

// Rows whose gradient is made at once. In bf16 several: the sums for gain and bias are loaded and stored once for all of them, and their chains of sums do not wait
// for each other. In f32 the lines of so many rows would push each other out of the first-level cache. Every sum has one order, so bits do not depend on it.
template <class T> constexpr int kTogether = sizeof(T) == 2 ? 4 : 1;

// gains, biases: sums of these rows' chunk, null where nobody asks for them. Each pass reads an element of every operand before dx is written there, so dx may lie in residual.
template <int R, class T> void gradient_rows(const LayerNormGradient& op, int64_t row, float* gains, float* biases) {
  const int64_t width = op.x.width();
  const float *gain = op.gain.as<float>(), *mean = op.mean.as<float>() + row, *scale = op.scale.as<float>() + row;
  const T *x = op.x.as<T>() + row * width, *dy = op.dy.as<T>() + row * width;
  const T* residual = op.residual.present() ? op.residual.as<T>() + row * width : nullptr;
  T* dx = op.dx.as<T>() + row * width;
  Lanes sum_g[R] = {}, sum_gn[R] = {};
  over_lanes(width, [&](int64_t i, auto lanes) NICHELM_INLINE_LAMBDA {
    const Lanes by = load(gain + i, lanes);
    Lanes gain_sum = gains ? load(gains + i, lanes) : Lanes{}, bias_sum = biases ? load(biases + i, lanes) : Lanes{};
#pragma GCC unroll 4
    for (int r = 0; r < R; ++r) {
      const int64_t at = r * width + i;
      if (sizeof(T) == 2 && residual) __builtin_prefetch(residual + at);
      const Lanes d = load(dy + at, lanes), normal = inside((load(x + at, lanes) - mean[r]) * scale[r], lanes), g = d * by;
      sum_g[r] += g;
      sum_gn[r] += g * normal;
      gain_sum += d * normal;
      bias_sum += d;
    }
    if (gains) store(gain_sum, gains + i, lanes);
    if (biases) store(bias_sum, biases + i, lanes);
  });
#pragma GCC unroll 4
  for (int r = 0; r < R; ++r) {
    const int64_t first = r * width;
    const float center = mean[r], of_g = scale[r];
    const float of_one = of_g * (sum_of(sum_g[r]) / static_cast<float>(width)), of_deviation = of_g * of_g * (sum_of(sum_gn[r]) / static_cast<float>(width));
    over_several<kOfLine<T>>(first, first + width, [&](int64_t i, auto lanes, auto n) NICHELM_INLINE_LAMBDA {
      if constexpr (sizeof(T) == 2) fetch_several<n()>(x + R * width + i), fetch_several<n()>(dy + R * width + i);
      auto d = load_several<n()>(dy + i, lanes) * load_several<n()>(gain + i - first, lanes) * of_g - of_one - (load_several<n()>(x + i, lanes) - center) * of_deviation;
      if (residual) d = d + load_several<n()>(residual + i, lanes);
      store_several(d, dx + i, lanes);
    });
  }
}

template <class T> void gradient_rows(const LayerNormGradient& op, int64_t first, int64_t last, float* gains, float* biases) {
  int64_t row = first;
  for (; row + kTogether<T> <= last; row += kTogether<T>) gradient_rows<kTogether<T>, T>(op, row, gains, biases);
  for (; row < last; ++row) gradient_rows<1, T>(op, row, gains, biases);
}

template <class T> void layer_norm_gradient(Cpu& device, const LayerNormGradient& op) {
  const int64_t width = op.x.width(), stride = 2 * width;
  if (!op.dgain.present() && !op.dbias.present()) {
    device.split(op.x.rows(), [&](int64_t first, int64_t last) { gradient_rows<T>(op, first, last, nullptr, nullptr); });
    return;
  }
  const RowChunks chunks = row_chunks(op.x.rows());
  float* sums = static_cast<float*>(device.shared_scratch((chunks.count + 1) * stride * 4));
  device.each(chunks.count, [&](int64_t c, int) {
    float* gains = sums + c * stride;
    std::memset(gains, 0, static_cast<size_t>(stride) * 4);
    gradient_rows<T>(op, chunks.first(c), chunks.last(c), op.dgain.present() ? gains : nullptr, op.dbias.present() ? gains + width : nullptr);
  });
  if (op.dgain.present()) add_chunks(device, sums, chunks.count, stride, width, op.dgain.as<float>());
  if (op.dbias.present()) add_chunks(device, sums + width, chunks.count, stride, width, op.dbias.as<float>());
}

}  // namespace

template <> void run(cpu::NICHELM_ISA& device, const LayerNorm& op) { op.x.type == Type::bf16 ? layer_norm<Bf16>(device, op) : layer_norm<float>(device, op); }
template <> void run(cpu::NICHELM_ISA& device, const LayerNormGradient& op) {
  op.x.type == Type::bf16 ? layer_norm_gradient<Bf16>(device, op) : layer_norm_gradient<float>(device, op);
}

}  // namespace nichelm
