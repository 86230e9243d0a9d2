// Whole training steps on CUDA devices, recorded and replayed, beside the CPU's: losses that go down alike, and the same bits in every order of threads.
#include <cmath>
#include <cstdlib>
#include <utility>

#include "cuda/program.h"
#include "ops/list.h"
#include "runtime/arena.h"
#include "test/devices.h"

using namespace nichelm;
using namespace nichelm::test;

namespace {

struct Step {
  const char* name;
  int64_t bytes;
  const char *micro, *update;
};
#include "cuda/trajectory.inc"

constexpr int kSteps = 12, kRows = 3, kLength = 24, kVocabulary = 67;

// Operands by the names of op and field, as the text has them: "adamw", "p" -> "0:f32:35008", one for each such call.
std::vector<std::string> operands(const std::string& text, const std::string& op, const std::string& field) {
  std::vector<std::string> found;
  for (size_t line = 0; line < text.size(); line = text.find('\n', line) + 1) {
    const std::string call = text.substr(line, text.find('\n', line) - line);
    if (call.compare(0, op.size() + 1, op + " ") != 0) continue;
    const size_t at = call.find(" " + field + "=") + field.size() + 2;
    found.push_back(call.substr(at, call.find(' ', at) - at));
  }
  return found;
}
int64_t offset_of(const std::string& operand) { return std::strtoll(operand.c_str(), nullptr, 10); }
int64_t count_of(const std::string& operand) { return std::strtoll(operand.c_str() + operand.rfind(':') + 1, nullptr, 10); }

// Programs before the first step: parameters rounded; before each: gradients zeroed.
std::string first_of(const Step& step) {
  const auto p = operands(step.update, "adamw", "p"), copy = operands(step.update, "adamw", "copy");
  std::string text = "nichelm-program 1\n";
  for (size_t i = 0; i < p.size(); ++i) text += "cast x=" + p[i] + " y=" + copy[i] + "\n";
  return text;
}
std::string zero_of(const Step& step) {
  std::string text = "nichelm-program 1\n";
  for (const std::string& gradient : operands(step.update, "adamw", "gradient")) text += "fill y=" + gradient + " value=0\n";
  return text;
}

struct Write { int64_t offset; std::vector<char> bytes; };
template <class T> Write write_of(const std::string& operand, const std::vector<T>& values) {
  const auto* from = reinterpret_cast<const char*>(values.data());
  return {offset_of(operand), {from, from + values.size() * sizeof(T)}};
}

// Parameters: matrices small, gains and biases near 1. Rows: two documents each, whose tokens can be guessed from the one before.
std::vector<Write> start_of(const Step& step) {
  std::vector<Write> writes;
  const auto p = operands(step.update, "adamw", "p");
  for (size_t i = 0; i < p.size(); ++i) {
    auto values = normal(count_of(p[i]), 7 + static_cast<unsigned>(i), 0.1f);
    for (float& v : values) v += i ? 1 : 0;
    writes.push_back(write_of(p[i], values));
  }
  std::vector<int32_t> tokens, targets, starts;
  for (int r = 0; r < kRows; ++r)
    for (int t = 0; t < kLength; ++t) {
      tokens.push_back((5 + 11 * r + 13 * t) % kVocabulary), targets.push_back((5 + 11 * r + 13 * (t + 1)) % kVocabulary);
      starts.push_back(t < 9 + r ? 0 : 9 + r);
    }
  std::vector<float> weights(tokens.size(), 1.0f / static_cast<float>(tokens.size() - kRows));
  for (int r = 0; r < kRows; ++r) weights[static_cast<size_t>(r * kLength + kLength - 1)] = 0;
  writes.push_back(write_of(operands(step.micro, "embedding", "tokens").at(0), tokens));
  writes.push_back(write_of(operands(step.micro, "embedding", "starts").at(0), starts));
  writes.push_back(write_of(operands(step.micro, "linear_cross_entropy_gradient", "targets").at(0), targets));
  writes.push_back(write_of(operands(step.micro, "linear_cross_entropy_gradient", "token_weights").at(0), weights));
  return writes;
}
Write schedule_of(const Step& step, int t) {
  return write_of(operands(step.update, "adamw", "schedule").at(0), std::vector<float>{0.01f, static_cast<float>(1 - std::pow(0.9, t)), static_cast<float>(1 - std::pow(0.95, t))});
}

struct Trajectory { std::vector<float> losses, parameters; };

// write(offset, bytes), read(offset, into, bytes), run(which of first, zero, micro, update)
template <class WriteTo, class Read, class Run> Trajectory train(const Step& step, const WriteTo& write, const Read& read, const Run& run) {
  Trajectory all;
  for (const Write& w : start_of(step)) write(w);
  run(0);
  for (int t = 1; t <= kSteps; ++t) {
    write(schedule_of(step, t));
    for (int program : {1, 2, 3}) run(program);
    float loss = NAN;
    read(offset_of(operands(step.micro, "linear_cross_entropy_gradient", "loss").at(0)), &loss, 4);
    all.losses.push_back(loss);
  }
  const std::string p = operands(step.update, "adamw", "p").at(0);
  all.parameters.resize(static_cast<size_t>(count_of(p)));
  read(offset_of(p), all.parameters.data(), count_of(p) * 4);
  return all;
}

Trajectory on_cpu(const Step& step) {
  Cpu cpu(1);
  Arena arena(step.bytes);
  const Program programs[] = {{first_of(step), arena, cpu.isa()}, {zero_of(step), arena, cpu.isa()}, {step.micro, arena, cpu.isa()}, {step.update, arena, cpu.isa()}};
  return train(step, [&](const Write& w) { arena.write(w.offset, w.bytes.data(), static_cast<int64_t>(w.bytes.size())); },
               [&](int64_t offset, void* into, int64_t bytes) { arena.read(offset, into, bytes); }, [&](int program) { programs[program].run(cpu); });
}

Trajectory on_cuda(CudaDevice& device, const Step& step) {
  char* memory = static_cast<char*>(device.allocate(step.bytes));
  device.zero(memory, step.bytes);
  CudaProgram programs[] = {{first_of(step), device, memory, step.bytes}, {zero_of(step), device, memory, step.bytes}, {step.micro, device, memory, step.bytes}, {step.update, device, memory, step.bytes}};
  const Trajectory all = train(step, [&](const Write& w) { device.write(memory + w.offset, w.bytes.data(), static_cast<int64_t>(w.bytes.size())); },
                               [&](int64_t offset, void* into, int64_t bytes) { device.read(memory + offset, into, bytes); }, [&](int program) { programs[program].run(); });
  device.release(memory);
  return all;
}

}  // namespace

TEST(cuda_trajectory) {
  for (const Step& step : {kGpt2, kLlama}) {
    if (cuda_devices().empty()) return;
    const Trajectory want = on_cpu(step);
    EXPECT(want.losses.back() < 0.7f * want.losses.front(), std::string(step.name) + ": the CPU's loss goes down, from " + std::to_string(want.losses.front()) + " to " + std::to_string(want.losses.back()));
    Trajectory first;
    const CudaDevice* of = nullptr;
    for (const CudaChoice& choice : cuda_devices()) {
      choice.prepare();
      if (std::exchange(of, choice.device) != choice.device) first = {};  // other kernels
      const Trajectory got = on_cuda(*choice.device, step);
      const std::string on = std::string(step.name) + ", " + choice.name;
      for (size_t t = 0; t < got.losses.size(); ++t)
        EXPECT(std::abs(got.losses[t] - want.losses[t]) < 0.01f + 0.01f * want.losses[t], on + ": step " + std::to_string(t + 1) + ": loss " + std::to_string(got.losses[t]) + ", the CPU's " + std::to_string(want.losses[t]));
      if (first.losses.empty()) first = got;
      EXPECT(got.losses == first.losses && got.parameters == first.parameters, on + ": the same bits in every order of threads");
    }
  }
}

TEST(cuda_program_refuses) {
  for (const CudaChoice& choice : cuda_devices()) {
    char* memory = static_cast<char*>(choice.device->allocate(4096));
    std::string told;
    try {
      CudaProgram("nichelm-program 1\nfill y=0:f32:2000 value=1\n", *choice.device, memory, 4096);
    } catch (const Error& e) {
      told = e.what();
    }
    EXPECT(told.find("outside the arena of 4096") != std::string::npos, "a program outside its memory: '" + told + "'");
    choice.device->release(memory);
  }
}
