// The CUDA kernels that there are, by the names of their ops. A kernel file says which ops it computes:
//   NICHELM_CUDA_KERNELS(RmsNorm, RmsNormGradient)
#pragma once
#include <string_view>

namespace nichelm {

class Cuda;
using CudaKernel = void (*)(Cuda& device, const void* op);

// Throws a device error if the op has no CUDA kernel.
CudaKernel cuda_kernel(std::string_view op);
bool has_cuda_kernel(std::string_view op);
void register_cuda_kernel(const char* op, CudaKernel kernel);

template <class Device, class Op> void run(Device&, const Op&);

template <class... Ops> struct RegisterCudaKernels {
  RegisterCudaKernels() { (register_cuda_kernel(Ops::fields().op, [](Cuda& device, const void* op) { run(device, *static_cast<const Ops*>(op)); }), ...); }
};
#define NICHELM_CUDA_KERNELS(...) static const RegisterCudaKernels<__VA_ARGS__> nichelm_cuda_kernels;

}  // namespace nichelm
