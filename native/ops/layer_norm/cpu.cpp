// CPU kernel: a row at a time while it is in the first-level cache: mean, then deviations, then the output. Rows over threads.
// The gradients of gain and bias are summed by chunks of rows.
#include "ops/layer_norm/layer_norm.h"
#include "ops/row_sums.h"
#include "ops/small.h"
#include "ops/streaming.h"
#include "runtime/several.h"

namespace nichelm {
namespace {

// N: registers that sums are made in; a short row's are made in one line of them.
template <int N, class T, Store kStore> void normalize(const LayerNorm& op, int64_t row) {
  const int64_t width = op.x.width();
  const float *gain = op.gain.as<float>(), *bias = op.bias.as<float>();
  const T* x = op.x.as<T>() + row * width;
  T* y = op.y.as<T>() + row * width;
  // While this row is worked on the next row's lines are asked for, those that will be written too; no nearer than the second cache: few can be on their way to
  // the first at once, and what is loaded and stored there would wait behind them.
  Several<N> sum = {}, squares = {};
  over_several<N>(0, width, [&](int64_t i, auto lanes, auto n) NICHELM_INLINE_LAMBDA { add_to(sum, load_several<n()>(x + i, lanes)); });
  const float mean = sum_of(sum) / static_cast<float>(width);
  over_several<N>(0, width, [&](int64_t i, auto lanes, auto n) NICHELM_INLINE_LAMBDA {
    fetch_several<n(), 2>(x + width + i);
    const auto deviation = inside(load_several<n()>(x + i, lanes) - mean, lanes);
    add_to(squares, deviation * deviation);
  });
  const float scale = 1 / __builtin_sqrtf(sum_of(squares) / static_cast<float>(width) + op.epsilon);
  over_several<kOfLine<T>>(0, width, [&](int64_t i, auto lanes, auto n) NICHELM_INLINE_LAMBDA {
    if constexpr (kStore == Store::cached) fetch_several<n(), 2>(y + width + i);
    store_several<kStore>((load_several<n()>(x + i, lanes) - mean) * scale * load_several<n()>(gain + i, lanes) + load_several<n()>(bias + i, lanes), y + i, lanes);
  });
  op.mean.as<float>()[row] = mean;
  op.scale.as<float>()[row] = scale;
}

template <class T> void layer_norm(Cpu& device, const LayerNorm& op) {
  const bool wide = op.x.width() >= 4 * kSeveral * kLanes;
  with_store(device, op.y, [&](auto store) {
    split_elements(device, op.x.rows(), op.x.size(), [&](int64_t first, int64_t last) {
      for (int64_t row = first; row < last; ++row) wide ? normalize<kSeveral, T, store()>(op, row) : normalize<kOfLine<T>, T, store()>(op, row);
      drain<store()>();
    });
  }, op.x);
}

// gains, biases: sums of this row's chunk, null where nobody asks for them. In f32 each pass asks for half of the lines that the next row wants: its second pass
// alone would leave memory without work during the first. In bf16, where arithmetic takes as long as memory, that is slower.
// Each pass reads an element of every operand before dx is written there, so dx may lie in residual.
template <class T, Store kStore> void gradient_row(const LayerNormGradient& op, int64_t row, float* gains, float* biases) {
  const int64_t width = op.x.width();
  const float* gain = op.gain.as<float>();
  const float mean = op.mean.as<float>()[row], scale = op.scale.as<float>()[row];
  const T *x = op.x.as<T>() + row * width, *dy = op.dy.as<T>() + row * width;
  const T* residual = op.residual.present() ? op.residual.as<T>() + row * width : nullptr;
  T* dx = op.dx.as<T>() + row * width;
  Several<kOfLine<T>> sum_g = {}, sum_gn = {};
  over_several<kOfLine<T>>(0, width, [&](int64_t i, auto lanes, auto n) NICHELM_INLINE_LAMBDA {
    const auto d = load_several<n()>(dy + i, lanes), normal = inside((load_several<n()>(x + i, lanes) - mean) * scale, lanes), g = d * load_several<n()>(gain + i, lanes);
    if constexpr (sizeof(T) == 4) {
      fetch_several<n(), 2>(x + width + i);
      if (kStore == Store::cached) fetch_several<n(), 2>(dx + width + i);
      else if (residual) fetch_several<n(), 2>(residual + width + i);
    }
    add_to(sum_g, g);
    add_to(sum_gn, g * normal);
    if (gains) store_several(load_several<n()>(gains + i, lanes) + d * normal, gains + i, lanes);
    if (biases) store_several(load_several<n()>(biases + i, lanes) + d, biases + i, lanes);
  });
  const float mean_g = sum_of(sum_g) / static_cast<float>(width), mean_gn = sum_of(sum_gn) / static_cast<float>(width), of_one = scale * mean_g, of_deviation = scale * (scale * mean_gn);
  over_several<kOfLine<T>>(0, width, [&](int64_t i, auto lanes, auto n) NICHELM_INLINE_LAMBDA {
    if constexpr (sizeof(T) == 2) fetch_several<n(), 2>(x + width + i);
    fetch_several<n(), 2>(dy + width + i);
    if (residual) fetch_several<n(), 2>(residual + width + i);  // again where the first pass did: what is compiled otherwise may round the sum below otherwise
    const auto g = load_several<n()>(dy + i, lanes) * load_several<n()>(gain + i, lanes), deviation = load_several<n()>(x + i, lanes) - mean;
    std::decay_t<decltype(g)> d;
    if constexpr (sizeof(T) == 2) d = g * scale - of_one - deviation * of_deviation;
    else d = scale * (g - mean_g - deviation * scale * mean_gn);  // what cancels is subtracted before it is rounded again: ten times as near in sums over rows
    if (residual) d = d + load_several<n()>(residual + i, lanes);
    store_several<kStore>(d, dx + i, lanes);
  });
}

template <class T, Store kStore> void gradient_rows(Cpu& device, const LayerNormGradient& op) {
  const int64_t width = op.x.width(), stride = 2 * width;
  if (!op.dgain.present() && !op.dbias.present()) {
    device.split(op.x.rows(), [&](int64_t first, int64_t last) {
      for (int64_t row = first; row < last; ++row) gradient_row<T, kStore>(op, row, nullptr, nullptr);
      drain<kStore>();
    });
    return;
  }
  const RowChunks chunks = row_chunks(op.x.rows());
  float* sums = static_cast<float*>(device.shared_scratch((chunks.count + 1) * stride * 4));
  device.each(chunks.count, [&](int64_t c, int) {
    float* gains = sums + c * stride;
    std::memset(gains, 0, static_cast<size_t>(stride) * 4);
    for (int64_t row = chunks.first(c); row < chunks.last(c); ++row) gradient_row<T, kStore>(op, row, op.dgain.present() ? gains : nullptr, op.dbias.present() ? gains + width : nullptr);
    drain<kStore>();
  });
  if (op.dgain.present()) add_chunks(device, sums, chunks.count, stride, width, op.dgain.as<float>());
  if (op.dbias.present()) add_chunks(device, sums + width, chunks.count, stride, width, op.dbias.as<float>());
}

template <class T> void layer_norm_gradient(Cpu& device, const LayerNormGradient& op) {
  with_store(device, op.dx, [&](auto store) { gradient_rows<T, store()>(device, op); }, op.x, op.dy, op.residual);
}

}  // namespace

template <> void run(cpu::NICHELM_ISA& device, const LayerNorm& op) { op.x.type == Type::bf16 ? layer_norm<Bf16>(device, op) : layer_norm<float>(device, op); }
template <> void run(cpu::NICHELM_ISA& device, const LayerNormGradient& op) {
  op.x.type == Type::bf16 ? layer_norm_gradient<Bf16>(device, op) : layer_norm_gradient<float>(device, op);
}

}  // namespace nichelm
