#include "benchmark/matmul.h"

static const nichelm::benchmark::Register matmul("matmul", nichelm::benchmark::matmul);
