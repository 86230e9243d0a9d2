// Causal attention, forward and backward, at the shapes of the models' training steps.
#pragma once
#include "benchmark/benchmark.h"

namespace nichelm::benchmark {

struct AttentionCase {
  std::string what;
  int64_t rows, length, heads, kv_heads, d;
  int64_t document = 0;  // tokens of each packed document; 0: one document a row
};

const std::vector<AttentionCase>& attention_cases();

// Forward, backward and both together. FLOPs are those of the products over visible keys alone: 4 d a query and key forward, 10 d backward.
std::vector<Result> measure_attention(Cpu& device, const AttentionCase& shape, Type type);

// All cases in f32 and bf16.
std::vector<Result> attention(Cpu& device);

}  // namespace nichelm::benchmark
