// The GPU, from a shared library of its own (nichelm_cuda.so), so that everything else runs where there is no driver.
#pragma once
#include <memory>
#include <string>

#include "cuda/device.h"

namespace nichelm {

// Throws a device error that says what is missing: the library, a driver, a driver that is new enough, a GPU, kernels for its architecture.
// The library is looked for beside the library or program that asks; NICHELM_CUDA_LIBRARY names another.
std::unique_ptr<CudaDevice> open_cuda(int ordinal = 0);

// Where the library is looked for.
std::string cuda_library_path();

// The newest CUDA that the NVIDIA driver is for, 1000 major + 10 minor; 0 where there is no driver. Needs no library.
int cuda_driver_version();

}  // namespace nichelm
