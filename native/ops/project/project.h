// Projection of a projected network (Grangier et al., arXiv 2402.01093): the weights of a group of rows as a linear function of its expert's vector,
//   c[g] = scale · experts[ids[g]] · mix,   weights[g] = sum over r of c[g,r] basis[r].
// It is elementwise in (inputs, outputs): one pass over the basis projects every group.
#pragma once
#include "runtime/op.h"

namespace nichelm {

struct Project {
  In experts;        // (k, m) f32: a vector for each expert
  In mix;            // (m, h) f32
  In basis;          // (h, inputs, outputs) f32
  In ids;            // (groups) i32 in [0, k): the expert of each group; one that is not makes its group NaN
  Out coefficients;  // (groups, h) f32: c
  Out weights;       // (groups, inputs, outputs) f32 or bf16
  float scale;

  static constexpr auto fields() {
    return nichelm::fields<Project>("project", {"experts", "mix", "basis", "ids", "coefficients", "weights", "scale"}, &Project::experts, &Project::mix, &Project::basis, &Project::ids,
                                    &Project::coefficients, &Project::weights, &Project::scale);
  }
  void check() const;
};

// The gradient by experts and mix; that by the basis is basis_adamw's affair.
//   dc[g,r] = <dweights[g], basis[r]>,   dexperts[ids[g]] += scale · dc[g] · mixᵀ,   dmix += scale · experts[ids]ᵀ · dc
struct ProjectGradient {
  In dweights;          // (groups, inputs, outputs) f32
  In experts;           // as in Project
  In mix;
  In basis;
  In ids;               // a group whose id is not in [0, k) adds NaN to dmix
  Accumulate dexperts;  // (k, m) f32
  Accumulate dmix;      // (m, h) f32
  float scale;

  static constexpr auto fields() {
    return nichelm::fields<ProjectGradient>("project_gradient", {"dweights", "experts", "mix", "basis", "ids", "dexperts", "dmix", "scale"}, &ProjectGradient::dweights, &ProjectGradient::experts,
                                            &ProjectGradient::mix, &ProjectGradient::basis, &ProjectGradient::ids, &ProjectGradient::dexperts, &ProjectGradient::dmix, &ProjectGradient::scale);
  }
  void check() const;
};

}  // namespace nichelm
