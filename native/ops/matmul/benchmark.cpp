#include "benchmark/matmul.h"

static const nichelm::benchmark::Register matmul("matmul", nichelm::benchmark::matmul), matmul_stacks("matmul_stacks", nichelm::benchmark::matmul_stacks),
    matmul_gated("matmul_gated", nichelm::benchmark::matmul_gated), matmul_thin("matmul_thin", nichelm::benchmark::matmul_thin);
