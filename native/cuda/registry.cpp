#include "cuda/registry.h"

#include <map>
#include <string>

#include "runtime/error.h"

namespace nichelm {
namespace {

std::map<std::string_view, CudaKernel>& kernels() {
  static std::map<std::string_view, CudaKernel> all;
  return all;
}

}  // namespace

CudaKernel cuda_kernel(std::string_view op) {
  const auto found = kernels().find(op);
  if (found == kernels().end()) throw Error(ErrorCode::device, std::string(op) + " has no CUDA kernel yet; it runs on the device cpu");
  return found->second;
}
bool has_cuda_kernel(std::string_view op) { return kernels().count(op) != 0; }
void register_cuda_kernel(const char* op, CudaKernel kernel) { kernels()[op] = kernel; }

}  // namespace nichelm
