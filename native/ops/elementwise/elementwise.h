// What touches each element once and is not fused elsewhere.
#pragma once
#include "runtime/op.h"

namespace nichelm {

struct Fill {
  Out y;        // any shape; f32 or bf16
  float value;

  static constexpr auto fields() { return nichelm::fields<Fill>("fill", {"y", "value"}, &Fill::y, &Fill::value); }
  void check() const;
};

// y = x in y's type, rounded to nearest even.
struct Cast {
  In x;   // f32 or bf16
  Out y;  // f32 or bf16, of x's size

  static constexpr auto fields() { return nichelm::fields<Cast>("cast", {"x", "y"}, &Cast::x, &Cast::y); }
  void check() const;
};

struct Add {
  In a, b;  // f32 or bf16, alike
  Out y;    // as a

  static constexpr auto fields() { return nichelm::fields<Add>("add", {"a", "b", "y"}, &Add::a, &Add::b, &Add::y); }
  void check() const;
};

// y = factor x. Its gradient is itself.
struct Scale {
  In x;   // f32 or bf16
  Out y;  // as x
  float factor;

  static constexpr auto fields() { return nichelm::fields<Scale>("scale", {"x", "y", "factor"}, &Scale::x, &Scale::y, &Scale::factor); }
  void check() const;
};

// y = gelu(x), dx = dy gelu'(x), the tanh form of matmul.h; for where it cannot be an epilogue.
struct Gelu {
  In x;   // f32 or bf16
  Out y;  // as x

  static constexpr auto fields() { return nichelm::fields<Gelu>("gelu", {"x", "y"}, &Gelu::x, &Gelu::y); }
  void check() const;
};
struct GeluGradient {
  In dy, x;
  Out dx;

  static constexpr auto fields() { return nichelm::fields<GeluGradient>("gelu_gradient", {"dy", "x", "dx"}, &GeluGradient::dy, &GeluGradient::x, &GeluGradient::dx); }
  void check() const;
};

}  // namespace nichelm
