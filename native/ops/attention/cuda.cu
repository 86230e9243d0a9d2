// CUDA kernels: bf16 heads of up to 128 columns, a multiple of 8, by tensor cores (cuda_forward.h, cuda_backward.h); other widths and f32 by ordinary
// multiply-adds (cuda_any.h). Behind tensor cores goes a small kernel that does again what hidden pairs spoiled (cuda_repair.h).
#include "ops/attention/attention.h"

#include "ops/attention/cuda_any.h"
#include "ops/attention/cuda_backward.h"
#include "ops/attention/cuda_forward.h"
#include "ops/attention/cuda_hopper_backward.h"
#include "ops/attention/cuda_repair.h"

namespace nichelm {
namespace {

bool by_tensor_cores(const Tensor& qkv, int64_t d) { return qkv.type == Type::bf16 && d % 8 == 0 && d <= 128; }

template <int D> void forward(Cuda& device, const Attention& op, const Layout& at) {
  const Bf16* qkv = op.qkv.as<const Bf16>();
  Bf16* y = op.y.as<Bf16>();
  float* lse = op.lse.as<float>();
  const int64_t heads = op.starts.rows() * at.heads;
  int32_t* bad = device.scratch_of<int32_t>(heads * most_groups(at));
  const bool hopper = attend_by_hopper<D>(device, at, op.starts.rows(), qkv, y, lse, bad);
  if (!hopper) {
    const dim3 grid(static_cast<unsigned>(divide_up(at.length, kQueries)), static_cast<unsigned>(heads));
    device.launch("attention", attend<D>, grid, kAttentionThreads, kForwardBytes<D>, qkv, y, lse, bad, at);
  }
  const int groups = groups_of(at, hopper ? kHopperRows : kQueries);
  device.launch("attention_repair", repair_outputs, repair_grid(heads, groups), 32 * kAnyWarps, any_bytes(at.d), qkv, y, lse, bad, at, static_cast<int>(heads), groups);
}
template <class T> void forward_any(Cuda& device, const Attention& op, const Layout& at) {
  device.launch("attention_any", attend_any<T>, any_grid(at.length, op.starts.rows() * at.heads), 32 * kAnyWarps, any_bytes(at.d), op.qkv.as<const T>(), op.y.as<T>(), op.lse.as<float>(), at);
}

template <class T> const float* delta_of(Cuda& device, const AttentionGradient& op, const Layout& at) {
  const int64_t tokens = op.starts.size();
  float* delta = device.scratch_of<float>(tokens * at.heads);
  device.launch("attention_delta", find_delta<T>, grid_of(divide_up(tokens * at.heads, kDeltaWarps)), 32 * kDeltaWarps, 0, op.dy.as<const T>(), op.y.as<const T>(), delta, at, tokens);
  return delta;
}
template <int D> void backward(Cuda& device, const AttentionGradient& op, const Layout& at) {
  const Bf16 *dy = op.dy.as<const Bf16>(), *qkv = op.qkv.as<const Bf16>(), *y = op.y.as<const Bf16>();
  Bf16* dqkv = op.dqkv.as<Bf16>();
  const float* lse = op.lse.as<const float>();
  const int64_t rows = op.starts.rows(), heads = rows * at.heads, kv_heads = rows * at.kv_heads;
  int32_t *bad_queries = device.scratch_of<int32_t>((heads + kv_heads) * most_groups(at), 2), *bad_keys = bad_queries + heads * most_groups(at);
  const bool hopper = gradient_by_hopper<D>(device, at, rows, dy, qkv, y, lse, dqkv, bad_queries, bad_keys);
  if (!hopper) {
    const float* delta = delta_of<Bf16>(device, op, at);
    const auto grid = [&](int64_t of) { return dim3(static_cast<unsigned>(divide_up(at.length, kQueries)), static_cast<unsigned>(of)); };
    device.launch("attention_query_gradient", query_gradient<D>, grid(heads), kAttentionThreads, kQueryGradientBytes<D>, dy, qkv, lse, delta, dqkv, bad_queries, at);
    device.launch("attention_key_gradient", key_gradient<D>, grid(kv_heads), kAttentionThreads, kKeyGradientBytes<D>, dy, qkv, lse, delta, dqkv, bad_keys, at);
  }
  const int groups = groups_of(at, hopper ? kHopperRows : kQueries);
  device.launch("attention_query_repair", repair_query_gradient, repair_grid(heads, groups), 32 * kAnyWarps, any_bytes(at.d), dy, qkv, y, lse, dqkv, bad_queries, at, static_cast<int>(heads), groups);
  device.launch("attention_key_repair", repair_key_gradient, repair_grid(kv_heads, groups), 32 * kAnyWarps, any_bytes(at.d), dy, qkv, y, lse, dqkv, bad_keys, at, static_cast<int>(kv_heads), groups);
}
template <class T> void backward_any(Cuda& device, const AttentionGradient& op, const Layout& at) {
  const float* delta = delta_of<T>(device, op, at);
  const T *dy = op.dy.as<const T>(), *qkv = op.qkv.as<const T>();
  const float* lse = op.lse.as<const float>();
  const int64_t rows = op.starts.rows();
  device.launch("attention_query_gradient_any", query_gradient_any<T>, any_grid(at.length, rows * at.heads), 32 * kAnyWarps, any_bytes(at.d), dy, qkv, lse, delta, op.dqkv.as<T>(), at);
  device.launch("attention_key_gradient_any", key_gradient_any<T>, any_grid(at.length, rows * at.kv_heads), 32 * kAnyWarps, any_bytes(at.d), dy, qkv, lse, delta, op.dqkv.as<T>(), at);
}

}  // namespace

template <> void run(Cuda& device, const Attention& op) {
  const Layout at = layout_of(op);
  if (by_tensor_cores(op.qkv, at.d)) at.d <= 64 ? forward<64>(device, op, at) : forward<128>(device, op, at);
  else op.qkv.type == Type::bf16 ? forward_any<Bf16>(device, op, at) : forward_any<float>(device, op, at);
}

template <> void run(Cuda& device, const AttentionGradient& op) {
  const Layout at = layout_of(op);
  if (by_tensor_cores(op.qkv, at.d)) at.d <= 64 ? backward<64>(device, op, at) : backward<128>(device, op, at);
  else op.qkv.type == Type::bf16 ? backward_any<Bf16>(device, op, at) : backward_any<float>(device, op, at);
}

NICHELM_CUDA_KERNELS(Attention, AttentionGradient)

}  // namespace nichelm
