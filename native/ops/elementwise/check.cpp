#include "ops/elementwise/elementwise.h"

namespace nichelm {
namespace {

bool floating(const Tensor& x) { return x.type == Type::f32 || x.type == Type::bf16; }
bool alike(const Tensor& a, const Tensor& b) { return a.type == b.type && a.size() == b.size(); }

}  // namespace

void Fill::check() const { require(floating(y), "fill: y must be f32 or bf16"); }

void Cast::check() const {
  require(floating(x), "cast: x must be f32 or bf16");
  require(floating(y), "cast: y must be f32 or bf16");
  require(x.size() == y.size(), "cast: y must be of x's size");
}

void Add::check() const {
  require(floating(a), "add: a must be f32 or bf16");
  require(alike(a, b), "add: b must be of a's type and size");
  require(alike(a, y), "add: y must be of a's type and size");
}

void Scale::check() const {
  require(floating(x), "scale: x must be f32 or bf16");
  require(alike(x, y), "scale: y must be of x's type and size");
}

void Gelu::check() const {
  require(floating(x), "gelu: x must be f32 or bf16");
  require(alike(x, y), "gelu: y must be of x's type and size");
}

void GeluGradient::check() const {
  require(floating(x), "gelu_gradient: x must be f32 or bf16");
  require(alike(x, dy), "gelu_gradient: dy must be of x's type and size");
  require(alike(x, dx), "gelu_gradient: dx must be of x's type and size");
}

}  // namespace nichelm
