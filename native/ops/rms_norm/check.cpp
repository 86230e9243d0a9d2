#include "ops/rms_norm/rms_norm.h"

namespace nichelm {
namespace {

bool like(const Tensor& a, const Tensor& b) { return a.type == b.type && a.size() == b.size() && a.width() == b.width(); }
bool f32_of(const Tensor& a, int64_t size) { return a.type == Type::f32 && a.size() == size; }

}  // namespace

void RmsNorm::check() const {
  require(x.type == Type::f32 || x.type == Type::bf16, "rms_norm: x must be f32 or bf16");
  require(x.width() > 0, "rms_norm: the last axis of x must not be empty");
  require(f32_of(gain, x.width()), "rms_norm: gain must hold one f32 per column of x");
  require(like(y, x), "rms_norm: y must have the type and shape of x");
  require(f32_of(scale, x.rows()), "rms_norm: scale must hold one f32 per row of x");
  require(epsilon > 0, "rms_norm: epsilon must be positive");
}

void RmsNormGradient::check() const {
  require(x.type == Type::f32 || x.type == Type::bf16, "rms_norm_gradient: x must be f32 or bf16");
  require(x.width() > 0, "rms_norm_gradient: the last axis of x must not be empty");
  require(like(dy, x) && like(dx, x), "rms_norm_gradient: dy and dx must have the type and shape of x");
  require(!residual.present() || like(residual, x), "rms_norm_gradient: residual must have the type and shape of x");
  require(f32_of(gain, x.width()) && (!dgain.present() || f32_of(dgain, x.width())), "rms_norm_gradient: gain and dgain must hold one f32 per column of x");
  require(f32_of(scale, x.rows()), "rms_norm_gradient: scale must hold one f32 per row of x");
}

}  // namespace nichelm
