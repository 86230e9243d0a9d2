// Whole training steps, as the TypeScript side lowers them, on a machine without Node: scripts/generate-steps writes their programs to files.
//
//   nichelm-step 1
//   name slm
//   tokens 32768
//   vocabulary 32768
//   flops_per_token 8.2e8
//   bytes 12345678
//   program micro
//   nichelm-program 1
//   ...
//   program update
//   ...
//
// A step runs its programs in the order of the file: zero, micro, update; or of a projected network zero, micro, advance, which makes the next step's weights too:
// project, which makes the first step's, runs once before.
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <sstream>

#include "benchmark/cuda.h"
#include "cuda/peak.h"

namespace nichelm::benchmark {
namespace {

struct Step {
  std::string name;
  int64_t tokens = 0, vocabulary = 0, bytes = 0;
  double flops_per_token = 0;
  std::vector<std::pair<std::string, std::string>> programs;
};

Step read_step(const std::string& file) {
  std::ifstream in(file);
  if (!in) throw Error(ErrorCode::argument, file + " cannot be read");
  Step step;
  std::string line;
  std::getline(in, line);
  if (line != "nichelm-step 1") throw Error(ErrorCode::argument, file + " is not of scripts/generate-steps: its first line must be 'nichelm-step 1'");
  while (std::getline(in, line)) {
    const size_t space = line.find(' ');
    const std::string key = line.substr(0, space), value = space == std::string::npos ? "" : line.substr(space + 1);
    if (!step.programs.empty() && key != "program") step.programs.back().second += line + "\n";
    else if (key == "program") step.programs.emplace_back(value, "");
    else if (key == "name") step.name = value;
    else if (key == "tokens") step.tokens = std::strtoll(value.c_str(), nullptr, 10);
    else if (key == "vocabulary") step.vocabulary = std::strtoll(value.c_str(), nullptr, 10);
    else if (key == "bytes") step.bytes = std::strtoll(value.c_str(), nullptr, 10);
    else if (key == "flops_per_token") step.flops_per_token = std::strtod(value.c_str(), nullptr);
    else throw Error(ErrorCode::argument, file + ": unknown '" + key + "'");
  }
  if (step.programs.empty() || step.tokens < 1 || step.vocabulary < 1 || step.bytes < 1) throw Error(ErrorCode::argument, file + " is not whole");
  return step;
}

// Random tokens and parameters, full rows of one document each; every target counts alike.
void prepare(CudaMemory& memory, const Step& step) {
  for (const auto& [name, text] : step.programs) {
    for (const std::string& p : operands_of(text, "adamw", "p")) memory.fill(p, 0.02f);
    for (const std::string& basis : operands_of(text, "project", "basis")) memory.fill(basis, 0.02f);
    for (const std::string& tokens : operands_of(text, "embedding", "tokens")) memory.fill_integers(tokens, step.vocabulary);
    for (const std::string& targets : operands_of(text, "linear_cross_entropy_gradient", "targets")) memory.fill_integers(targets, step.vocabulary);
    for (const std::string& weights : operands_of(text, "linear_cross_entropy_gradient", "token_weights")) memory.fill_with(weights, 1.0f / static_cast<float>(step.tokens));
    for (const char* op : {"adamw", "basis_step"})
      for (const std::string& schedule : operands_of(text, op, "schedule")) memory.write(parse_cuda_operand(schedule).offset, std::vector<float>{1e-4f, 0.1f, 0.05f});
  }
}

float loss_of(CudaMemory& memory, const Step& step) {
  float loss = NAN;
  for (const auto& [name, text] : step.programs)
    for (const std::string& operand : operands_of(text, "linear_cross_entropy_gradient", "loss")) memory.device.read(memory.data + parse_cuda_operand(operand).offset, &loss, 4);
  return loss;
}

std::string profile_of(std::vector<CudaProgram>& programs) {
  std::vector<Program::Timing> all;
  double total = 0;
  for (CudaProgram& program : programs)
    for (const Program::Timing& timing : program.profile()) all.push_back(timing), total += timing.seconds;
  std::string text;
  char part[128];
  for (const Program::Timing& timing : all) {
    std::snprintf(part, sizeof part, "%s%s %lld x, %.3f ms (%.1f%%)", text.empty() ? "" : "; ", timing.op, static_cast<long long>(timing.calls), timing.seconds * 1e3, 100 * timing.seconds / total);
    text += part;
  }
  return text;
}

}  // namespace

void cuda_steps(CudaDevice& device, const CudaSettings& settings) {
  for (const std::string& file : settings.steps) {
    const Step step = read_step(file);
    CudaMemory memory(device, step.bytes);
    prepare(memory, step);
    // The programs of a step as one: recorded and replayed as they would be one after the other.
    std::string text = "nichelm-program 1\n";
    std::vector<CudaProgram> parts;
    for (const auto& [name, program] : step.programs) {
      if (name == "project") {
        CudaProgram(program, device, memory.data, memory.bytes).run();
        continue;
      }
      parts.emplace_back(program, device, memory.data, memory.bytes);
      text += program.substr(program.find('\n') + 1);
    }
    CudaProgram whole(text, device, memory.data, memory.bytes);
    whole.run();
    const float before = loss_of(memory, step);
    Result r;
    r.benchmark = "steps", r.what = step.name, r.shape = std::to_string(step.tokens) + " tokens", r.type = name_of(Type::bf16);
    r.seconds = measure(device, whole, settings.small);
    const float after = loss_of(memory, step);
    r.tokens = static_cast<double>(step.tokens) / r.seconds, r.flops = r.tokens * step.flops_per_token, r.peak = stated_peak(device.describe(), Type::bf16);
    char note[256];
    if (r.peak > 0) std::snprintf(note, sizeof note, "utilisation = tokens/s x FLOPs a token / peak = %.0f x %.4g / %.4g; ", r.tokens, step.flops_per_token, r.peak), r.note = note;
    std::snprintf(note, sizeof note, "loss %.3f before, %.3f after (a guess: %.3f)", before, after, std::log(static_cast<double>(step.vocabulary)));
    r.note += note;
    if (settings.profile) r.note += "\n  " + profile_of(parts);
    if (!std::isfinite(after)) throw Error(ErrorCode::device, step.name + ": the loss is not a number");
    settings.found(r);
  }
}

}  // namespace nichelm::benchmark
