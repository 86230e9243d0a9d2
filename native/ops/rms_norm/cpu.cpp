// CPU kernel: a row at a time while it is in the first-level cache: its squares, then the output. Rows over threads.
// The gradient of the gain is summed by chunks of rows.
#include "ops/rms_norm/rms_norm.h"
#include "ops/row_sums.h"
#include "ops/small.h"
#include "ops/streaming.h"
#include "runtime/several.h"

namespace nichelm {
namespace {

// N: registers that sums are made in; a short row's are made in one line of them.
template <int N, class T, Store kStore> void normalize(const RmsNorm& op, int64_t row) {
  const int64_t width = op.x.width();
  const float* gain = op.gain.as<float>();
  const T* x = op.x.as<T>() + row * width;
  T* y = op.y.as<T>() + row * width;
  // In f32 the next row's lines are asked for, those that will be written too, as in layer_norm; in bf16 it is slower.
  Several<N> squares = {};
  over_several<N>(0, width, [&](int64_t i, auto lanes, auto n) NICHELM_INLINE_LAMBDA {
    if constexpr (sizeof(T) == 4) fetch_several<n(), 2>(x + width + i);
    const auto v = load_several<n()>(x + i, lanes);
    add_to(squares, v * v);
  });
  const float scale = 1 / __builtin_sqrtf(sum_of(squares) / static_cast<float>(width) + op.epsilon);
  over_several<kOfLine<T>>(0, width, [&](int64_t i, auto lanes, auto n) NICHELM_INLINE_LAMBDA {
    if constexpr (sizeof(T) == 4 && kStore == Store::cached) fetch_several<n(), 2>(y + width + i);
    store_several<kStore>(load_several<n()>(x + i, lanes) * scale * load_several<n()>(gain + i, lanes), y + i, lanes);
  });
  op.scale.as<float>()[row] = scale;
}

template <class T> void rms_norm(Cpu& device, const RmsNorm& op) {
  const bool wide = op.x.width() >= 4 * kSeveral * kLanes;
  with_store(device, op.y, [&](auto store) {
    split_elements(device, op.x.rows(), op.x.size(), [&](int64_t first, int64_t last) {
      for (int64_t row = first; row < last; ++row) wide ? normalize<kSeveral, T, store()>(op, row) : normalize<kOfLine<T>, T, store()>(op, row);
      drain<store()>();
    });
  }, op.x);
}

// gains: sums of this row's chunk, null where nobody asks for them. Each pass reads an element of every operand before dx is written there, so dx may lie in residual.
template <class T, Store kStore> void gradient_row(const RmsNormGradient& op, int64_t row, float* gains) {
  const int64_t width = op.x.width();
  const float* gain = op.gain.as<float>();
  const float scale = op.scale.as<float>()[row];
  const T *x = op.x.as<T>() + row * width, *dy = op.dy.as<T>() + row * width;
  const T* residual = op.residual.present() ? op.residual.as<T>() + row * width : nullptr;
  T* dx = op.dx.as<T>() + row * width;
  Several<kOfLine<T>> sum_gn = {};  // of g n, n = x scale
  over_several<kOfLine<T>>(0, width, [&](int64_t i, auto lanes, auto n) NICHELM_INLINE_LAMBDA {
    if constexpr (sizeof(T) == 4) fetch_several<n(), 2>(x + width + i);
    if constexpr (sizeof(T) == 4 && kStore == Store::cached) fetch_several<n(), 2>(dx + width + i);
    const auto dn = load_several<n()>(dy + i, lanes) * (load_several<n()>(x + i, lanes) * scale);
    add_to(sum_gn, dn * load_several<n()>(gain + i, lanes));
    if (gains) store_several(load_several<n()>(gains + i, lanes) + dn, gains + i, lanes);
  });
  const float mean_gn = sum_of(sum_gn) / static_cast<float>(width), of_x = scale * (scale * mean_gn);
  over_several<kOfLine<T>>(0, width, [&](int64_t i, auto lanes, auto n) NICHELM_INLINE_LAMBDA {
    if constexpr (sizeof(T) == 4) {
      fetch_several<n(), 2>(dy + width + i);
      if (residual) fetch_several<n(), 2>(residual + width + i);
    }
    const auto g = load_several<n()>(dy + i, lanes) * load_several<n()>(gain + i, lanes), v = load_several<n()>(x + i, lanes);
    std::decay_t<decltype(g)> d;
    if constexpr (sizeof(T) == 2) d = g * scale - v * of_x;
    else d = scale * (g - v * scale * mean_gn);  // as in layer_norm: what cancels before it is rounded again
    if (residual) d = d + load_several<n()>(residual + i, lanes);
    store_several<kStore>(d, dx + i, lanes);
  });
}

template <class T, Store kStore> void gradient_rows(Cpu& device, const RmsNormGradient& op) {
  const int64_t width = op.x.width();
  if (!op.dgain.present()) {
    device.split(op.x.rows(), [&](int64_t first, int64_t last) {
      for (int64_t row = first; row < last; ++row) gradient_row<T, kStore>(op, row, nullptr);
      drain<kStore>();
    });
    return;
  }
  const RowChunks chunks = row_chunks(op.x.rows());
  float* sums = static_cast<float*>(device.shared_scratch((chunks.count + 1) * width * 4));
  device.each(chunks.count, [&](int64_t c, int) {
    float* gains = sums + c * width;
    std::memset(gains, 0, static_cast<size_t>(width) * 4);
    for (int64_t row = chunks.first(c); row < chunks.last(c); ++row) gradient_row<T, kStore>(op, row, gains);
    drain<kStore>();
  });
  add_chunks(device, sums, chunks.count, width, width, op.dgain.as<float>());
}

template <class T> void rms_norm_gradient(Cpu& device, const RmsNormGradient& op) {
  with_store(device, op.dx, [&](auto store) { gradient_rows<T, store()>(device, op); }, op.x, op.dy, op.residual);
}

}  // namespace

template <> void run(cpu::NICHELM_ISA& device, const RmsNorm& op) { op.x.type == Type::bf16 ? rms_norm<Bf16>(device, op) : rms_norm<float>(device, op); }
template <> void run(cpu::NICHELM_ISA& device, const RmsNormGradient& op) {
  op.x.type == Type::bf16 ? rms_norm_gradient<Bf16>(device, op) : rms_norm_gradient<float>(device, op);
}

}  // namespace nichelm
