// Every op, once. The program reader, the kernel tables and the binding are made from this list.
#pragma once
#include "ops/adamw/adamw.h"
#include "ops/attention/attention.h"
#include "ops/basis/basis.h"
#include "ops/basis_step/basis_step.h"
#include "ops/cached_attention/cached_attention.h"
#include "ops/column_sum/column_sum.h"
#include "ops/elementwise/elementwise.h"
#include "ops/embedding/embedding.h"
#include "ops/global_norm/global_norm.h"
#include "ops/layer_norm/layer_norm.h"
#include "ops/linear_cross_entropy/linear_cross_entropy.h"
#include "ops/linear_distillation/linear_distillation.h"
#include "ops/matmul/matmul.h"
#include "ops/most_probable/most_probable.h"
#include "ops/project/project.h"
#include "ops/rms_norm/rms_norm.h"
#include "ops/rotary/rotary.h"
#include "ops/rotary_table/rotary_table.h"
#include "ops/sample/sample.h"
#include "ops/swiglu/swiglu.h"

namespace nichelm {

template <class... Ops> struct OpList {
  static constexpr int count = sizeof...(Ops);
};

using AllOps = OpList<Adamw, Add, Attention, AttentionGradient, BasisAdamw, BasisNorm, BasisStep, CachedAttention, Cast, ColumnSum, Embedding, EmbeddingGradient, Fill, Gelu, GeluGradient, GlobalNorm, LayerNorm, LayerNormGradient,
                      LinearCrossEntropy, LinearCrossEntropyGradient, LinearDistillation, LinearDistillationGradient, Matmul, MatmulAccumulate, MatmulSwiglu, MatmulSwigluGradient, MostProbable, Project, ProjectGradient, RmsNorm, RmsNormGradient, Rotary,
                      RotaryTable, Sample, Scale, Swiglu, SwigluGradient>;

}  // namespace nichelm
