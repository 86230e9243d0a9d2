#include "ops/adamw/adamw.h"

namespace nichelm {

void Adamw::check() const {
  const int64_t n = gradient.size();
  require(gradient.type == Type::f32 && p.type == Type::f32 && m.type == Type::f32 && v.type == Type::f32, "adamw: gradient, p, m and v must be f32");
  require(p.size() == n && m.size() == n && v.size() == n, "adamw: p, m and v must be as large as gradient");
  require(clip.type == Type::f32 && clip.size() == 1, "adamw: clip must be one f32");
  require(schedule.type == Type::f32 && schedule.size() == 3, "adamw: schedule must hold three f32: rate, c1, c2");
  require(!copy.present() || (copy.type == Type::bf16 && copy.size() == n), "adamw: copy must be bf16 and as large as p");
  require(beta1 >= 0 && beta1 < 1 && beta2 >= 0 && beta2 < 1, "adamw: beta1 and beta2 must be at least 0 and below 1");
  require(epsilon > 0, "adamw: epsilon must be positive");
  require(weight_decay >= 0, "adamw: weight_decay must not be negative");
}

}  // namespace nichelm
