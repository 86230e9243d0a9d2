// Runs a test on every device it must pass on. CPU: each instruction set, with several numbers of threads. cuda-emulated: the CUDA kernels on the emulator, in
// several orders of threads. cuda: the GPU. `nichelm_test --device NAME` chooses one of the three.
#pragma once
#include <cstring>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "cuda/device.h"
#include "ops/kernels.h"
#include "runtime/cpu.h"
#include "test/allocations.h"
#include "test/test.h"

namespace nichelm::test {

// 1, 2 and 5; a sanitizer's run, for which that is too slow, chooses by the environment variable NICHELM_TEST_THREADS ("2 5").
const std::vector<int>& thread_counts();

// body(cpu, name, first): name says which device, first is true for the first thread count of an instruction set. For ops without a CUDA kernel.
template <class Body> void on_cpus(const Body& body) {
  if (!chosen_device("cpu")) return;
  for (int isa : isas())
    for (int threads : thread_counts()) {
      Cpu cpu(threads, static_cast<Isa>(isa));
      body(cpu, std::string(name_of(cpu.isa())) + ", " + std::to_string(threads) + " threads", threads == thread_counts().front());
    }
}

// A CPU or a CUDA device; run_op gives either the same operands in host memory.
class Device {
 public:
  explicit Device(Cpu& cpu) : cpu_(&cpu) {}
  explicit Device(CudaDevice& cuda) : cuda_(&cuda) {}
  Cpu* cpu() const { return cpu_; }
  CudaDevice* cuda() const { return cuda_; }
  bool emulated() const { return cuda_ && cuda_->describe().driver == 0; }  // slow: large cases may be left out

 private:
  Cpu* cpu_ = nullptr;
  CudaDevice* cuda_ = nullptr;
};

// Operands of one call in device memory. Those that lie in one place lie in one place there too. Behind each is NaN that no kernel may touch, and what
// is only read must come back as it was.
class Staged {
 public:
  explicit Staged(CudaDevice& device) : device_(device) {}
  ~Staged();
  void* place(const Tensor& operand, bool written);  // copies it there
  void fetch(const char* op);                        // copies results back, and checks

 private:
  static constexpr int64_t kGuard = 256;
  struct Part { void* there; int64_t bytes; bool written; };
  CudaDevice& device_;
  std::map<void*, Part> parts_;
};

template <class Op> concept AnOp = requires { Op::fields(); };

// As nichelm::run_op, before which it goes, since it asks for more; and the kernel may ask for no memory but the device's scratch.
template <AnOp Op> void run_op(Cpu& device, const Op& op) {
  op.check();
  const Kernel kernel = kernels(device.isa())[static_cast<size_t>(index_of<Op>(AllOps{}))];
  const int64_t before = allocations();
  kernel(device, &op);
  const int64_t times = allocations() - before;
  if (times) EXPECT(false, std::string(Op::fields().op) + " asked for memory " + std::to_string(times) + " times");
}

template <class Op> void run_op(CudaDevice& device, const Op& op) {
  op.check();
  Op there = op;
  Staged staged(device);
  constexpr auto fields = Op::fields();
  const auto place = [&]<class T>(T Op::*member) {
    if constexpr (std::is_base_of_v<Tensor, T>) {
      constexpr bool read_only = std::is_same_v<T, In> || std::is_same_v<T, InOptional>;
      if ((op.*member).present()) (there.*member).data = staged.place(op.*member, !read_only);
    }
  };
  std::apply([&](auto... members) { (place(members), ...); }, fields.members);
  device.run(fields.op, &there);
  staged.fetch(fields.op);
}
template <class Op> void run_op(Device& device, const Op& op) { device.cpu() ? run_op(*device.cpu(), op) : run_op(*device.cuda(), op); }

// The CUDA devices to test on, each with its name, made ready by calling prepare.
// other_kernels: of interest only to ops that have other kernels for it than for the rest. alike: results must be the same bits as those of the choice before.
struct CudaChoice { CudaDevice* device; std::string name; std::function<void()> prepare; bool other_kernels = false, alike = false; };
const std::vector<CudaChoice>& cuda_devices();

// As on_cpus, on CUDA devices too: first is true once for each kind of device, whose results must be the same bits however it runs.
enum class Gpus { alike, each };  // whether an op has kernels of its own for some architecture
template <class Body> void on_devices(const Body& body, Gpus gpus = Gpus::alike) {
  on_cpus([&](Cpu& cpu, const std::string& name, bool first) {
    Device device(cpu);
    body(device, name, first);
  });
  const CudaDevice* last = nullptr;
  for (const CudaChoice& choice : cuda_devices()) {
    if (choice.other_kernels && gpus == Gpus::alike) continue;
    choice.prepare();
    Device device(*choice.device);
    body(device, choice.name, choice.device != last && !choice.alike);
    last = choice.device;
  }
}

// Of CUDA devices those whose matrix products are cuBLASLt's: of the emulator by a stand-in (native/emulator/fake_cublaslt.cpp), of the GPU where there is the
// real one.
const std::vector<CudaChoice>& library_devices();
template <class Body> void on_library_devices(const Body& body) {
  for (const CudaChoice& choice : library_devices()) {
    choice.prepare();
    Device device(*choice.device);
    body(device, choice.name, true);
  }
}

// What any op must not accept: runs check() and expects its message to hold the words.
template <class Op> bool refuses(const Op& op, const std::string& words) {
  try {
    op.check();
  } catch (const Error& e) {
    return std::string(e.what()).find(words) != std::string::npos;
  }
  return false;
}

}  // namespace nichelm::test
