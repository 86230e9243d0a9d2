#include "ops/global_norm/global_norm.h"

namespace nichelm {

void GlobalNorm::check() const {
  require(gradient.type == Type::f32, "global_norm: gradient must be f32");
  require(!squares.present() || (squares.type == Type::f32 && squares.size() == 1), "global_norm: squares must be one f32");
  require(norm.type == Type::f32 && norm.size() == 1, "global_norm: norm must be one f32");
  require(clip.type == Type::f32 && clip.size() == 1, "global_norm: clip must be one f32");
  require(limit >= 0, "global_norm: limit must not be negative");
}

}  // namespace nichelm
