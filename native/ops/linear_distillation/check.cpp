#include "ops/linear_cross_entropy/check.h"
#include "ops/linear_distillation/linear_distillation.h"

namespace nichelm {
namespace {

template <class Op> void check_teacher(const Op& op, const Must& must) {
  const int64_t tokens = op.x.rows(), vocabulary = op.weight.rows();
  must(op.teacher.present() ? !op.ids.present() && !op.probabilities.present() : op.ids.present() && op.probabilities.present(), "needs either teacher or ids and probabilities");
  must(!op.teacher.present() || (op.teacher.type == Type::f32 && op.teacher.width() == vocabulary && op.teacher.rows() == tokens), "teacher must be f32 of the shape (rows of x, vocabulary)");
  if (op.ids.present()) {
    must(op.ids.type == Type::i32 && op.ids.width() > 0 && op.ids.width() <= vocabulary && op.ids.rows() == tokens, "ids must be i32 of the shape (rows of x, k), k in [1, vocabulary]");
    must(op.probabilities.type == Type::f32 && op.probabilities.size() == op.ids.size() && op.probabilities.width() == op.ids.width(), "probabilities must be f32 of the shape of ids");
  }
  must(op.alpha >= 0 && op.alpha <= 1, "alpha must be in [0, 1]");
  must(op.temperature > 0 && op.temperature < 1e6f, "temperature must be positive and below a million");
}

}  // namespace

void LinearDistillation::check() const {
  const Must must{"linear_distillation"};
  check_output_layer(*this, must);
  check_teacher(*this, must);
}

void LinearDistillationGradient::check() const {
  const Must must{"linear_distillation_gradient"};
  check_output_layer(*this, must);
  check_teacher(*this, must);
  check_output_gradients(*this, must);
}

}  // namespace nichelm
