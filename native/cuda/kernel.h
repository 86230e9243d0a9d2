// What a kernel file (native/ops/NAME/cuda.cu) sees: the device, launches, shared memory, conversions. The same file is compiled by nvcc for the GPU
// and by an ordinary compiler for the emulator (native/emulator), which runs it on the CPU.
#pragma once
#ifdef __CUDACC__
#include <cuda_runtime.h>
#else
#include "emulator/cuda.h"
#endif

#include <functional>
#include <string>

#include "cuda/registry.h"
#include "runtime/bf16.h"
#include "runtime/op.h"

namespace nichelm {

#ifdef __CUDACC__
// What a CUDA call answered, as an error that says which call it was.
void check_cuda(cudaError_t status, const char* what);
#endif

class Products;
constexpr int kScratchSlots = 7;

class Cuda {
 public:
  virtual ~Cuda() = default;

  // Starts kernel(arguments...) behind what was started before it. shared: bytes of shared memory. An empty grid starts nothing.
  template <class... Parameters, class... Arguments>
  void launch(const char* name, void (*kernel)(Parameters...), dim3 grid, unsigned threads, size_t shared, Arguments... arguments) {
    if (grid.x == 0 || grid.y == 0 || grid.z == 0) return;
    check_grid(name, grid);
#ifdef __CUDACC__
    // As much as any launch may ask for: a smaller one must not take from a larger one that was recorded before.
    if (shared > 48 << 10) check_cuda(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, most_shared_), name);
    cudaLaunchConfig_t config{};
    config.gridDim = grid, config.blockDim = dim3(threads), config.dynamicSmemBytes = shared, config.stream = stream_;
    check_cuda(cudaLaunchKernelEx(&config, kernel, static_cast<Parameters>(arguments)...), name);
    if (one_by_one_ && !recording()) check_cuda(cudaStreamSynchronize(stream_), name);
#else
    const auto body = [&] { kernel(static_cast<Parameters>(arguments)...); };
    emulator::run(name, grid, dim3(threads), shared, [](const void* context) { (*static_cast<const decltype(body)*>(context))(); }, &body);
#endif
  }

  // Memory for the calls of one op, 256-byte aligned, which the next op may overwrite. slot, below kScratchSlots, tells apart buffers that are held at once: ops
  // have 0 to 2, their matrix products the others.
  virtual void* scratch(int64_t bytes, int slot = 0) = 0;
  template <class T> T* scratch_of(int64_t count, int slot = 0) { return static_cast<T*>(scratch(count * static_cast<int64_t>(sizeof(T)), slot)); }

  // How many blocks run at once at least: for the choice of a tile, which must not change a result.
  virtual int multiprocessors() const = 0;
  // Whether kernels of Hopper's own instructions (cuda/warpgroup.h) run here.
  virtual bool hopper() const = 0;

  // For what is not launched here but by a library, and for choosing between the two.
  virtual Products& products() = 0;
  virtual void* stream() = 0;           // the cudaStream_t
  virtual bool recording() const = 0;   // calls are recorded now, not run
  virtual double seconds(const std::function<void()>& calls, int times) = 0;  // of one of so many runs of the calls, by the device's clock; not while recording

 protected:
  static void check_grid(const char* name, dim3 grid) {
    constexpr unsigned kMost = 65535;  // along the second and third axis, on every GPU
    if (grid.y > kMost || grid.z > kMost)
      throw Error(ErrorCode::argument, std::string("CUDA: ") + name + " would need a grid of " + std::to_string(grid.x) + " x " + std::to_string(grid.y) + " x " + std::to_string(grid.z) +
                                           " blocks, and a GPU takes 65535 along the last two (rows times heads, or groups): fewer rows at once are needed");
  }
#ifdef __CUDACC__
  cudaStream_t stream_ = nullptr;
  int most_shared_ = 48 << 10;  // bytes of shared memory that a block may ask for
  bool one_by_one_ = false;     // each launch is waited for
#endif
};

inline int64_t divide_up(int64_t a, int64_t b) { return (a + b - 1) / b; }
// Blocks of a grid with one axis.
inline dim3 grid_of(int64_t blocks) { return dim3(static_cast<unsigned>(blocks)); }

// The block's shared memory, aligned to 1024 bytes; the launch says how much there is.
template <class T> __device__ inline T* shared_memory() {
#ifdef __CUDACC__
  extern __shared__ __align__(1024) unsigned char nichelm_shared[];
  return reinterpret_cast<T*>(nichelm_shared);
#else
  return reinterpret_cast<T*>(emulator::shared_memory());
#endif
}

}  // namespace nichelm
