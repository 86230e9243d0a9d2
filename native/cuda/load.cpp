#include "cuda/load.h"

#include <dlfcn.h>

#include <cstdlib>
#include <string>

#include "runtime/error.h"

namespace nichelm {
namespace {

using Open = CudaDevice* (*)(int ordinal);

std::string library_path() {
  if (const char* named = std::getenv("NICHELM_CUDA_LIBRARY")) return named;
  Dl_info info{};
  if (!dladdr(reinterpret_cast<void*>(&library_path), &info) || !info.dli_fname) return "nichelm_cuda.so";
  const std::string self = info.dli_fname;
  const size_t slash = self.rfind('/');
  return (slash == std::string::npos ? "./" : self.substr(0, slash + 1)) + "nichelm_cuda.so";
}

Open load() {
  const std::string path = library_path();
  void* library = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (!library)
    throw Error(ErrorCode::device, "the CUDA library could not be loaded: " + std::string(dlerror()) + ". A build with nvcc and -DNICHELM_CUDA=ON makes it (docs/cuda.md); the device cpu needs none");
  auto open = reinterpret_cast<Open>(dlsym(library, "nichelm_open_cuda"));
  if (!open) throw Error(ErrorCode::device, path + " is not nichelm's CUDA library");
  return open;
}

}  // namespace

std::unique_ptr<CudaDevice> open_cuda(int ordinal) {
  static const Open open = load();  // loaded for good; tried again where it failed
  return std::unique_ptr<CudaDevice>(open(ordinal));
}

}  // namespace nichelm
