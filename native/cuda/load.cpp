#include "cuda/load.h"

#include <dlfcn.h>

#include <cstdlib>
#include <string>

#include "cuda/fingerprint.h"
#include "runtime/error.h"

namespace nichelm {
namespace {

using Open = CudaDevice* (*)(int ordinal);

Open load() {
  const std::string path = cuda_library_path();
  void* library = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (!library)
    throw Error(ErrorCode::device, "the CUDA library could not be loaded: " + std::string(dlerror()) + ". `npm run build:cuda` makes it, with nvcc (docs/cuda.md); the device cpu needs none");
  auto open = reinterpret_cast<Open>(dlsym(library, "nichelm_open_cuda"));
  const auto fingerprint = reinterpret_cast<uint64_t (*)()>(dlsym(library, "nichelm_cuda_fingerprint"));
  if (!open || !fingerprint) throw Error(ErrorCode::device, path + " is not nichelm's CUDA library");
  if (fingerprint() != cuda_fingerprint()) throw Error(ErrorCode::device, path + " is of another version of nichelm: build it again with `npm run build:cuda`");
  return open;
}

}  // namespace

std::string cuda_library_path() {
  if (const char* named = std::getenv("NICHELM_CUDA_LIBRARY")) return named;
  Dl_info info{};
  if (!dladdr(reinterpret_cast<void*>(&cuda_library_path), &info) || !info.dli_fname) return "./nichelm_cuda.so";
  const std::string self = info.dli_fname;
  const size_t slash = self.rfind('/');
  return (slash == std::string::npos ? "./" : self.substr(0, slash + 1)) + "nichelm_cuda.so";
}

int cuda_driver_version() {
  void* driver = dlopen("libcuda.so.1", RTLD_NOW | RTLD_LOCAL);
  if (!driver) return 0;
  const auto ask = reinterpret_cast<int (*)(int*)>(dlsym(driver, "cuDriverGetVersion"));
  int version = 0;
  return ask && ask(&version) == 0 ? version : 0;
}

std::unique_ptr<CudaDevice> open_cuda(int ordinal) {
  static const Open open = load();  // loaded for good; tried again where it failed
  return std::unique_ptr<CudaDevice>(open(ordinal));
}

}  // namespace nichelm
