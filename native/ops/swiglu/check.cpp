#include "ops/swiglu/swiglu.h"

namespace nichelm {

void Swiglu::check() const {
  require(x.type == Type::f32 || x.type == Type::bf16, "swiglu: x must be f32 or bf16");
  require(x.width() % 2 == 0, "swiglu: x must hold gate and up side by side, so its width must be even");
  require(y.type == x.type, "swiglu: y must be of x's type");
  require(2 * y.width() == x.width() && 2 * y.size() == x.size(), "swiglu: y must have x's rows and half its width");
}

void SwigluGradient::check() const {
  require(x.type == Type::f32 || x.type == Type::bf16, "swiglu_gradient: x must be f32 or bf16");
  require(x.width() % 2 == 0, "swiglu_gradient: x must hold gate and up side by side, so its width must be even");
  require(dy.type == x.type, "swiglu_gradient: dy must be of x's type");
  require(2 * dy.width() == x.width() && 2 * dy.size() == x.size(), "swiglu_gradient: dy must have x's rows and half its width");
  require(dx.type == x.type && dx.width() == x.width() && dx.size() == x.size(), "swiglu_gradient: dx must be like x");
}

}  // namespace nichelm
