// The GPU: one stream, memory by cudaMalloc, host memory that is copied through a pinned buffer.
#include "cuda/device.h"

#include <algorithm>
#include <array>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "cuda/kernel.h"
#include "cuda/products.h"

namespace nichelm {

void check_cuda(cudaError_t status, const char* what) {
  if (status == cudaSuccess) return;
  cudaGetLastError();  // what can be forgotten is
  throw Error(status == cudaErrorMemoryAllocation ? ErrorCode::memory : ErrorCode::device, std::string("CUDA: ") + what + ": " + cudaGetErrorString(status));
}

namespace {

std::string version_text(int version) { return std::to_string(version / 1000) + "." + std::to_string(version % 1000 / 10); }
std::string mebibytes(size_t bytes) { return std::to_string((bytes + (1 << 20) - 1) >> 20) + " MiB"; }
[[noreturn]] void fail_device(const std::string& what) { throw Error(ErrorCode::device, what); }

void* device_memory(size_t bytes) {
  void* memory = nullptr;
  if (cudaMalloc(&memory, bytes) == cudaSuccess) return memory;
  cudaGetLastError();
  size_t available = 0, all = 0;
  cudaMemGetInfo(&available, &all);
  throw Error(ErrorCode::memory, "out of memory on the GPU: " + mebibytes(bytes) + " are needed, " + mebibytes(available) + " of " + mebibytes(all) + " are available");
}

struct Event {
  cudaEvent_t event = nullptr;
  Event() { check_cuda(cudaEventCreate(&event), "cudaEventCreate"); }
  ~Event() { cudaEventDestroy(event); }
  Event(const Event&) = delete;
};

// Seconds of the calls by the GPU's own clock. Waits for them.
template <class Calls> double timed(cudaStream_t stream, const Calls& calls) {
  const Event begin, end;
  float milliseconds = 0;
  check_cuda(cudaEventRecord(begin.event, stream), "cudaEventRecord");
  calls();
  check_cuda(cudaEventRecord(end.event, stream), "cudaEventRecord");
  check_cuda(cudaEventSynchronize(end.event), "a kernel");
  check_cuda(cudaEventElapsedTime(&milliseconds, begin.event, end.event), "cudaEventElapsedTime");
  return static_cast<double>(milliseconds) * 1e-3;
}

class Stream : public Cuda {
 public:
  Stream(const cudaDeviceProp& properties, bool hopper) : multiprocessors_(properties.multiProcessorCount), hopper_(hopper), products_(said(properties, hopper)) {
    most_shared_ = static_cast<int>(properties.sharedMemPerBlockOptin);
    // For tests: as if there were so few, so that small products take the tiles and paths of large ones; and each launch waited for, so that an error names its kernel.
    if (const char* few = std::getenv("NICHELM_MULTIPROCESSORS")) multiprocessors_ = std::clamp(std::atoi(few), 1, multiprocessors_);
    const char* one_by_one = std::getenv("NICHELM_CUDA_SYNC");
    one_by_one_ = one_by_one && std::string(one_by_one) == "1";
    check_cuda(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking), "cudaStreamCreate");
  }
  ~Stream() override {
    for (const Buffer& buffer : buffers_) cudaFree(buffer.data);
    for (void* memory : outgrown_) cudaFree(memory);
    cudaStreamDestroy(stream_);
  }
  cudaStream_t handle() const { return stream_; }
  void set_recording(bool on) { recording_ = on; }

  // Grows on first use and is kept. A buffer that was outgrown stays too: calls that are running, or were recorded, hold its place.
  void* scratch(int64_t bytes, int slot) override {
    Buffer& buffer = buffers_.at(static_cast<size_t>(slot));
    const size_t wanted = static_cast<size_t>(std::max<int64_t>(bytes, 256));
    if (buffer.bytes >= wanted) return buffer.data;
    if (recording_) throw Error(ErrorCode::device, "CUDA: calls must run once before they are recorded");
    void* const memory = device_memory(wanted);
    if (buffer.data) outgrown_.push_back(buffer.data);
    buffer = {memory, wanted};
    return memory;
  }
  int multiprocessors() const override { return multiprocessors_; }
  bool hopper() const override { return hopper_; }
  Products& products() override { return products_; }
  void* stream() override { return stream_; }
  bool recording() const override { return recording_; }
  double seconds(const std::function<void()>& calls, int times) override {
    return timed(stream_, [&] {
      for (int i = 0; i < times; ++i) calls();
    }) / times;
  }

 private:
  // What measurements of products belong to.
  static std::string said(const cudaDeviceProp& p, bool hopper) {
    return std::string(p.name) + ", " + std::to_string(p.major) + "." + std::to_string(p.minor) + ", " + std::to_string(p.multiProcessorCount) + " multiprocessors" + (hopper ? ", by wgmma" : "");
  }
  struct Buffer { void* data = nullptr; size_t bytes = 0; };
  int multiprocessors_;
  bool hopper_, recording_ = false;
  Products products_;
  std::array<Buffer, kScratchSlots> buffers_;
  std::vector<void*> outgrown_;
};

class Graph : public CudaGraph {
 public:
  Graph(cudaGraph_t graph, cudaStream_t stream) : stream_(stream) {
    const cudaError_t status = cudaGraphInstantiate(&executable_, graph, 0);
    cudaGraphDestroy(graph);
    check_cuda(status, "cudaGraphInstantiate");
  }
  ~Graph() override { cudaGraphExecDestroy(executable_); }
  void replay() override { check_cuda(cudaGraphLaunch(executable_, stream_), "cudaGraphLaunch"); }
  double seconds(int times) override {
    return timed(stream_, [&] {
      for (int i = 0; i < times; ++i) replay();
    }) / times;
  }

 private:
  cudaGraphExec_t executable_ = nullptr;
  cudaStream_t stream_;
};

__global__ void probe() {}

class Device : public CudaDevice {
 public:
  explicit Device(int ordinal) : ordinal_(ordinal) {
    check_cuda(cudaSetDevice(ordinal), "cudaSetDevice");
    check_cuda(cudaGetDeviceProperties(&properties_, ordinal), "cudaGetDeviceProperties");
    cudaFuncAttributes attributes;
    if (cudaFuncGetAttributes(&attributes, probe) != cudaSuccess) {
      cudaGetLastError();
      const std::string major = std::to_string(properties_.major), minor = std::to_string(properties_.minor);
      fail_device(std::string(properties_.name) + " has compute capability " + major + "." + minor + "; this build has kernels for " NICHELM_CUDA_ARCHITECTURES
                  ". Build with NICHELM_CUDA_ARCHITECTURES=" + major + minor + (properties_.major >= 9 ? "a" : "") + "-real npm run build:cuda");
    }
    // Its own instructions are in code for the architecture of that very name only. They can be left out, to compare.
    const char* wanted = std::getenv("NICHELM_HOPPER");
    const bool hopper = properties_.major == 9 && std::strstr(NICHELM_CUDA_ARCHITECTURES, "90a") && !(wanted && std::string(wanted) == "off");
    stream_ = std::make_unique<Stream>(properties_, hopper);
    check_cuda(cudaMallocHost(&pinned_, kPinned), "cudaMallocHost");
  }
  ~Device() override {
    cudaStreamSynchronize(stream_->handle());
    cudaFreeHost(pinned_);
  }

  CudaDescription describe() override {
    enter();
    size_t available = 0, all = 0;
    check_cuda(cudaMemGetInfo(&available, &all), "cudaMemGetInfo");
    int driver = 0, runtime = 0, count = 0;
    cudaDriverGetVersion(&driver), cudaRuntimeGetVersion(&runtime), cudaGetDeviceCount(&count);
    return {properties_.name, properties_.major, properties_.minor, properties_.multiProcessorCount, static_cast<int64_t>(all), static_cast<int64_t>(available), driver, runtime, count};
  }

  CudaProducts products() override { return stream_->products().describe(); }
  void* allocate(int64_t bytes) override {
    enter();
    return device_memory(static_cast<size_t>(std::max<int64_t>(bytes, 1)));
  }
  // Throws nothing, since destructors call it: what went wrong before shows again with the next call that is waited for.
  void release(void* memory) noexcept override {
    cudaSetDevice(ordinal_);
    cudaStreamSynchronize(stream_->handle());
    cudaFree(memory);
    cudaGetLastError();
    used_ = 0;
  }
  void write(void* to, const void* from, int64_t bytes) override {
    enter();
    for (int64_t done = 0, part; done < bytes; done += part) {
      part = std::min(kPinned, bytes - done);
      // Small copies go side by side, so that those of one step do not wait for each other.
      if (used_ + part > kPinned) synchronize();
      char* const place = static_cast<char*>(pinned_) + used_;
      std::memcpy(place, static_cast<const char*>(from) + done, static_cast<size_t>(part));
      used_ += (part + 255) / 256 * 256;
      check_cuda(cudaMemcpyAsync(static_cast<char*>(to) + done, place, static_cast<size_t>(part), cudaMemcpyHostToDevice, stream_->handle()), "cudaMemcpyAsync");
    }
  }
  void read(const void* from, void* into, int64_t bytes) override {
    enter();
    for (int64_t done = 0; done < bytes; done += kPinned) {
      const auto part = static_cast<size_t>(std::min(kPinned, bytes - done));  // behind the copies that the buffer still holds
      check_cuda(cudaMemcpyAsync(pinned_, static_cast<const char*>(from) + done, part, cudaMemcpyDeviceToHost, stream_->handle()), "cudaMemcpyAsync");
      synchronize();
      std::memcpy(static_cast<char*>(into) + done, pinned_, part);
    }
  }
  void zero(void* at, int64_t bytes) override {
    enter();
    check_cuda(cudaMemsetAsync(at, 0, static_cast<size_t>(bytes), stream_->handle()), "cudaMemsetAsync");
  }

  bool computes(const char* op) const override { return has_cuda_kernel(op); }
  void run(const char* name, const void* op) override {
    enter();
    cuda_kernel(name)(*stream_, op);
  }
  std::unique_ptr<CudaGraph> record(const std::function<void()>& calls) override {
    enter();
    synchronize();
    cudaGraph_t graph = nullptr;
    check_cuda(cudaStreamBeginCapture(stream_->handle(), cudaStreamCaptureModeThreadLocal), "cudaStreamBeginCapture");
    stream_->set_recording(true);
    try {
      calls();
    } catch (...) {
      stream_->set_recording(false);
      cudaStreamEndCapture(stream_->handle(), &graph);
      if (graph) cudaGraphDestroy(graph);
      cudaGetLastError();
      throw;
    }
    stream_->set_recording(false);
    check_cuda(cudaStreamEndCapture(stream_->handle(), &graph), "cudaStreamEndCapture");
    return std::make_unique<Graph>(graph, stream_->handle());
  }
  void synchronize() override {
    check_cuda(cudaStreamSynchronize(stream_->handle()), "a kernel");
    used_ = 0;
  }

 private:
  static constexpr int64_t kPinned = 16 << 20;
  void enter() const { check_cuda(cudaSetDevice(ordinal_), "cudaSetDevice"); }  // calls may come from any thread

  int ordinal_;
  cudaDeviceProp properties_{};
  std::unique_ptr<Stream> stream_;
  void* pinned_ = nullptr;
  int64_t used_ = 0;  // of the pinned buffer, by copies that may still be under way
};

// Says why there is no such device, and what to do.
void require_device(int ordinal) {
  int driver = 0, runtime = 0, count = 0;
  cudaDriverGetVersion(&driver), cudaRuntimeGetVersion(&runtime);
  const cudaError_t status = cudaGetDeviceCount(&count);
  cudaGetLastError();
  if (driver == 0) fail_device("there is no NVIDIA driver on this machine (libcuda.so.1 was not found); install one for CUDA " + version_text(runtime) + " or newer, or use the device cpu");
  if (status == cudaErrorInsufficientDriver)
    fail_device("the NVIDIA driver is too old: it is for CUDA " + version_text(driver) + ", needed is " + version_text(runtime) + " or newer. Update it, or use the device cpu");
  if (status == cudaErrorNoDevice || (status == cudaSuccess && count == 0)) fail_device("there is no NVIDIA GPU that this process may use (CUDA_VISIBLE_DEVICES says which may)");
  check_cuda(status, "cudaGetDeviceCount");
  if (ordinal < 0 || ordinal >= count) fail_device("there is no GPU " + std::to_string(ordinal) + "; there are " + std::to_string(count) + ", numbered from 0");
}

}  // namespace
}  // namespace nichelm

// The library's one symbol (load.cpp).
extern "C" __attribute__((visibility("default"))) nichelm::CudaDevice* nichelm_open_cuda(int ordinal) {
  nichelm::require_device(ordinal);
  return new nichelm::Device(ordinal);
}
