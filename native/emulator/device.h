// The emulator as a CUDA device: kernels run on the CPU, on host memory.
#pragma once
#include <memory>

#include "cuda/device.h"

namespace nichelm::emulator {

// major: the compute capability that it says it has. 8: kernels of mma.sync; 9: those of Hopper's instructions too.
std::unique_ptr<CudaDevice> open_device(int major = 8);

}  // namespace nichelm::emulator
