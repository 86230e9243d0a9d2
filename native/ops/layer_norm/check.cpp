#include "ops/layer_norm/layer_norm.h"

namespace nichelm {
namespace {

bool like(const Tensor& a, const Tensor& b) { return a.type == b.type && a.size() == b.size() && a.width() == b.width(); }
bool f32_of(const Tensor& a, int64_t size) { return a.type == Type::f32 && a.size() == size; }

}  // namespace

void LayerNorm::check() const {
  require(x.type == Type::f32 || x.type == Type::bf16, "layer_norm: x must be f32 or bf16");
  require(x.width() > 0, "layer_norm: the last axis of x must not be empty");
  require(f32_of(gain, x.width()) && f32_of(bias, x.width()), "layer_norm: gain and bias must hold one f32 per column of x");
  require(like(y, x), "layer_norm: y must have the type and shape of x");
  require(f32_of(mean, x.rows()) && f32_of(scale, x.rows()), "layer_norm: mean and scale must hold one f32 per row of x");
  require(epsilon > 0, "layer_norm: epsilon must be positive");
}

void LayerNormGradient::check() const {
  require(x.type == Type::f32 || x.type == Type::bf16, "layer_norm_gradient: x must be f32 or bf16");
  require(x.width() > 0, "layer_norm_gradient: the last axis of x must not be empty");
  require(like(dy, x) && like(dx, x), "layer_norm_gradient: dy and dx must have the type and shape of x");
  require(!residual.present() || like(residual, x), "layer_norm_gradient: residual must have the type and shape of x");
  require(f32_of(gain, x.width()), "layer_norm_gradient: gain must hold one f32 per column of x");
  require(f32_of(mean, x.rows()) && f32_of(scale, x.rows()), "layer_norm_gradient: mean and scale must hold one f32 per row of x");
  require((!dgain.present() || f32_of(dgain, x.width())) && (!dbias.present() || f32_of(dbias, x.width())), "layer_norm_gradient: dgain and dbias must hold one f32 per column of x");
}

}  // namespace nichelm
