// The GPU, from a shared library of its own (nichelm_cuda.so), so that everything else runs where there is no driver.
#pragma once
#include <memory>

#include "cuda/device.h"

namespace nichelm {

// Throws a device error that says what is missing: the library, a driver, a driver that is new enough, a GPU, kernels for its architecture.
// The library is looked for beside the library or program that asks; NICHELM_CUDA_LIBRARY names another.
std::unique_ptr<CudaDevice> open_cuda(int ordinal = 0);

}  // namespace nichelm
