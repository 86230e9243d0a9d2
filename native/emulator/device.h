// The emulator as a CUDA device: kernels run on the CPU, on host memory.
#pragma once
#include <memory>

#include "cuda/device.h"

namespace nichelm::emulator {

std::unique_ptr<CudaDevice> open_device();

}  // namespace nichelm::emulator
