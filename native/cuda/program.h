// A program (runtime/program.h) on a CUDA device: run as calls at first, then recorded, and from then on replayed as one graph.
#pragma once
#include <string_view>

#include "cuda/device.h"
#include "runtime/program.h"

namespace nichelm {

class CudaProgram {
 public:
  // memory: of the device, which must outlive the program. Throws as read_program does, and a device error for an op without a CUDA kernel.
  CudaProgram(std::string_view text, CudaDevice& device, void* memory, int64_t bytes);

  void run();  // starts it; CudaDevice::read and synchronize wait for it
  double seconds(int times);  // of one run, by the device's own clock, of so many in a row; waits for them
  std::vector<Program::Timing> profile() const;  // runs the calls once, waiting for each op's
  int64_t calls() const { return static_cast<int64_t>(calls_.size()); }

 private:
  void run_calls() const;
  CudaDevice& device_;
  std::vector<ProgramCall> calls_;
  bool has_run_ = false;
  std::unique_ptr<CudaGraph> graph_;
};

}  // namespace nichelm
