#include "cuda/program.h"

#include <string>

namespace nichelm {

CudaProgram::CudaProgram(std::string_view text, CudaDevice& device, void* memory, int64_t bytes) : device_(device), calls_(read_program(text, static_cast<char*>(memory), bytes)) {
  for (const ProgramCall& call : calls_) {
    const char* name = op_table()[static_cast<size_t>(call.op)].name;
    if (!device.computes(name)) throw Error(ErrorCode::device, std::string(name) + " has no CUDA kernel yet; it runs on the device cpu");
  }
}

void CudaProgram::run_calls() const {
  for (const ProgramCall& call : calls_) device_.run(op_table()[static_cast<size_t>(call.op)].name, call.values.get());
}

// The first run gets kernels loaded and scratch memory made, which recording must not do.
void CudaProgram::run() {
  if (!has_run_) {
    run_calls();
    has_run_ = true;
    return;
  }
  if (!graph_) graph_ = device_.record([this] { run_calls(); });
  graph_->replay();
}

}  // namespace nichelm
