// Benchmarks on a GPU of what is not training (cuda_serving.cpp).
#pragma once
#include "benchmark/cuda.h"

namespace nichelm::benchmark {

void cuda_kmeans(CudaDevice& device, const CudaSettings& settings);     // assignment and update
void cuda_inference(CudaDevice& device, const CudaSettings& settings);  // the parts of a decoding step and of reading a prompt

}  // namespace nichelm::benchmark
