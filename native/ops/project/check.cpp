#include "ops/project/project.h"

namespace nichelm {
namespace {

bool matrix(const Tensor& t, int64_t rows, int64_t width) { return t.type == Type::f32 && t.axes == 2 && t.shape[0] == rows && t.shape[1] == width; }

void check_operands(const Tensor& experts, const Tensor& mix, const Tensor& basis, const Tensor& ids) {
  require(experts.type == Type::f32 && experts.axes == 2 && experts.shape[0] > 0 && experts.shape[1] > 0, "project: experts must be f32 of shape (k, m), neither of them 0");
  require(mix.axes == 2 && mix.shape[1] > 0 && matrix(mix, experts.shape[1], mix.shape[1]), "project: mix must be f32 of shape (m, h), with a row for each column of experts");
  require(basis.type == Type::f32 && basis.axes == 3 && basis.shape[0] == mix.shape[1], "project: basis must be f32 of shape (h, inputs, outputs), with a matrix for each column of mix");
  require(ids.type == Type::i32 && ids.size() > 0, "project: ids must be i32, one for each group");
}

bool stack(const Tensor& t, int64_t groups, const Tensor& basis) { return t.axes == 3 && t.shape[0] == groups && t.shape[1] == basis.shape[1] && t.shape[2] == basis.shape[2]; }

}  // namespace

void Project::check() const {
  check_operands(experts, mix, basis, ids);
  require(matrix(coefficients, ids.size(), mix.shape[1]), "project: coefficients must be f32 of shape (groups, h)");
  require(weights.type == Type::f32 || weights.type == Type::bf16, "project: weights must be f32 or bf16");
  require(stack(weights, ids.size(), basis), "project: weights must have the shape (groups, inputs, outputs)");
}

void ProjectGradient::check() const {
  check_operands(experts, mix, basis, ids);
  require(dweights.type == Type::f32 && stack(dweights, ids.size(), basis), "project_gradient: dweights must be f32 of shape (groups, inputs, outputs)");
  require(matrix(dexperts, experts.shape[0], experts.shape[1]), "project_gradient: dexperts must be f32 and have the shape of experts");
  require(matrix(dmix, mix.shape[0], mix.shape[1]), "project_gradient: dmix must be f32 and have the shape of mix");
}

}  // namespace nichelm
