// Benchmarks on a GPU: programs, recorded and timed by the GPU's own clock, at the sizes of models that are trained there.
#pragma once
#include <functional>

#include "benchmark/benchmark.h"
#include "cuda/device.h"
#include "cuda/program.h"

namespace nichelm::benchmark {

struct CudaSettings {
  bool small = false;               // sizes that the emulator can run: they show that it works, not how fast
  std::vector<std::string> steps;   // files of scripts/generate-steps
  bool profile = false;             // of each step, where its time goes
  std::function<void(const Result&)> found;  // takes each result as it comes: what fails later loses none
};

// A program that is written call by call; operands get places of their own.
class CudaText {
 public:
  // OFFSET:TYPE:SHAPE of a new operand.
  std::string place(Type type, const std::vector<int64_t>& shape);
  void call(const std::string& line) { text_ += line + "\n"; }
  const std::string& text() const { return text_; }
  // Its calls `times` in a row, each with the next of so many copies of the operands, bytes() apart.
  std::string repeated(int times, int copies) const;
  int64_t bytes() const { return bytes_; }

 private:
  std::string text_ = "nichelm-program 1\n";
  int64_t bytes_ = 0;
};

// Memory of a device, filled with normal-like numbers (zeros would run faster than data does) of bf16 or f32.
class CudaMemory {
 public:
  CudaMemory(CudaDevice& device, int64_t bytes) : device(device), data(static_cast<char*>(device.allocate(bytes))), bytes(bytes) { device.zero(data, bytes); }
  ~CudaMemory() { device.release(data); }
  CudaMemory(const CudaMemory&) = delete;
  void fill(const std::string& operand, float scale);                   // random numbers
  void fill_integers(const std::string& operand, int64_t below);        // random whole numbers
  void fill_with(const std::string& operand, float value);
  template <class T> void write(int64_t offset, const std::vector<T>& values) { device.write(data + begin + offset, values.data(), static_cast<int64_t>(values.size() * sizeof(T))); }
  CudaDevice& device;
  char* const data;
  const int64_t bytes;
  int64_t begin = 0;  // where what is filled and written lies: of the copies of CudaText::repeated which
};

struct CudaOperand { int64_t offset; Type type; int64_t size; };
CudaOperand parse_cuda_operand(const std::string& text);
// Operands of the calls of an op by a field's name, in order.
std::vector<std::string> operands_of(const std::string& text, const std::string& op, const std::string& field);

// Seconds of the program's run: the median of several measurements, each of enough runs. bytes: of memory; fill makes it ready.
double measure(CudaDevice& device, CudaProgram& program, bool small);

using CudaBenchmark = void (*)(CudaDevice& device, const CudaSettings& settings);
struct CudaEntry { const char* name; CudaBenchmark body; };
const std::vector<CudaEntry>& cuda_entries();

// Whole training steps of the files.
void cuda_steps(CudaDevice& device, const CudaSettings& settings);

}  // namespace nichelm::benchmark
