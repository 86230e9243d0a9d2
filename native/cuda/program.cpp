#include "cuda/program.h"

#include <chrono>
#include <map>
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

double CudaProgram::seconds(int times) {
  while (!graph_) run();
  return graph_->seconds(times);
}

std::vector<Program::Timing> CudaProgram::profile() const {
  std::map<int, Program::Timing> by_op;
  device_.synchronize();
  for (const ProgramCall& call : calls_) {
    const char* name = op_table()[static_cast<size_t>(call.op)].name;
    const auto start = std::chrono::steady_clock::now();
    device_.run(name, call.values.get());
    device_.synchronize();
    Program::Timing& timing = by_op.try_emplace(call.op, Program::Timing{name, 0, 0}).first->second;
    timing.seconds += std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    ++timing.calls;
  }
  std::vector<Program::Timing> timings;
  for (const auto& [op, timing] : by_op) timings.push_back(timing);
  return timings;
}

}  // namespace nichelm
