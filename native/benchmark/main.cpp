// nichelm_bench [NAME] [--case TEXT] [--threads N] [--isa NAME] [--json]: runs the benchmarks whose names contain NAME, prints a table or JSON lines.
// Of matmul and attention --case takes those lines that contain TEXT.
// nichelm_bench [NAME] --device cuda [--index N] [--step FILE]... [--profile] [--small] [--json]: those of a GPU; files are of scripts/generate-steps.
#include <cstdio>
#include <cstdlib>
#include <exception>

#include "benchmark/benchmark.h"
#include "benchmark/cuda.h"
#include "cuda/load.h"

namespace {

using namespace nichelm;
using benchmark::Result;

struct Arguments {
  std::string name;
  int threads = 0;
  Isa isa = best_isa();
  bool json = false, cuda = false;
  int index = 0;
  benchmark::CudaSettings settings;
};

Arguments parse(int argc, char** argv) {
  Arguments arguments;
  for (int i = 1; i < argc; ++i) {
    const std::string argument = argv[i];
    const auto value = [&]() -> std::string {
      if (i + 1 >= argc) throw Error(ErrorCode::argument, argument + " needs a value");
      return argv[++i];
    };
    if (argument == "--threads") {
      const std::string text = value();
      char* end;
      arguments.threads = static_cast<int>(std::strtol(text.c_str(), &end, 10));
      if (*end || end == text.c_str() || arguments.threads < 1) throw Error(ErrorCode::argument, "--threads must be a number of at least 1; got '" + text + "'");
    } else if (argument == "--case") {
      benchmark::only_cases(value());
    } else if (argument == "--isa") {
      arguments.isa = parse_isa(value());
    } else if (argument == "--device") {
      const std::string name = value();
      if (name != "cpu" && name != "cuda") throw Error(ErrorCode::argument, "--device must be cpu or cuda; got '" + name + "'");
      arguments.cuda = name == "cuda";
    } else if (argument == "--index") {
      arguments.index = std::atoi(value().c_str());
    } else if (argument == "--step") {
      arguments.settings.steps.push_back(value());
    } else if (argument == "--small") {
      arguments.settings.small = true;
    } else if (argument == "--profile") {
      arguments.settings.profile = true;
    } else if (argument == "--json") {
      arguments.json = true;
    } else if (argument[0] == '-' || !arguments.name.empty()) {
      throw Error(ErrorCode::argument, "unknown argument '" + argument + "'; usage: nichelm_bench [NAME] [--case TEXT] [--threads N] [--isa NAME] [--json], or [NAME] --device cuda [--index N] [--step FILE]... [--profile] [--small] [--json]");
    } else {
      arguments.name = argument;
    }
  }
  if (!arguments.cuda && (arguments.settings.small || arguments.settings.profile || !arguments.settings.steps.empty())) throw Error(ErrorCode::argument, "--step, --profile and --small need --device cuda");
  return arguments;
}

std::string about(const Cpu& device) { return std::string("\"isa\":\"") + name_of(device.isa()) + "\",\"threads\":" + std::to_string(device.threads()); }

void print_json(const Result& r, const std::string& device, bool impossible = false) {
  std::printf("{\"benchmark\":\"%s\",\"what\":\"%s\",\"shape\":\"%s\",\"type\":\"%s\",%s,\"seconds\":%.9g", r.benchmark.c_str(), r.what.c_str(), r.shape.c_str(), r.type.c_str(), device.c_str(), r.seconds);
  if (r.flops > 0) std::printf(",\"gflops\":%.2f", r.flops * 1e-9);
  if (r.peak > 0) std::printf(",\"peak_gflops\":%.2f,\"peak_share\":%.4f", r.peak * 1e-9, r.flops / r.peak);
  if (r.bytes > 0) std::printf(",\"gigabytes_per_second\":%.3f", r.bytes * 1e-9);
  if (r.peak_bytes > 0) std::printf(",\"peak_share\":%.4f", r.bytes / r.peak_bytes);
  if (r.bandwidth > 0) std::printf(",\"bandwidth_share\":%.4f", r.bytes / r.bandwidth);
  if (r.tokens > 0) std::printf(",\"tokens_per_second\":%.1f", r.tokens);
  if (impossible) std::printf(",\"impossible\":true");
  std::printf("}\n");
}

void print_row(const Result& r) {
  std::printf("%-36s %-22s %-5s %10.3f", r.what.c_str(), r.shape.c_str(), r.type.c_str(), r.seconds * 1e3);
  r.flops > 0 ? std::printf(" %9.1f", r.flops * 1e-9) : std::printf(" %9s", "-");
  const double share = r.peak > 0 ? r.flops / r.peak : r.peak_bytes > 0 ? r.bytes / r.peak_bytes : 0;
  share > 0 ? std::printf(" %6.1f%%", 100 * share) : std::printf(" %7s", "-");
  r.bytes > 0 ? std::printf(" %8.*f", r.bytes < 1e9 ? 3 : 2, r.bytes * 1e-9) : std::printf(" %8s", "-");
  if (r.bandwidth > 0) std::printf(" %5.1f%%", 100 * r.bytes / r.bandwidth);
  if (r.tokens > 0) std::printf(" %12.0f tokens/s", r.tokens);
  std::printf("\n");
  if (!r.note.empty()) std::printf("  %s\n", r.note.c_str());
}

// A GPU cannot be faster than its maker says it is; a second-level cache may be, so only what is larger than any is held to the memory's bandwidth.
bool is_impossible(const Result& r) {
  constexpr double kCached = 512e6;
  return (r.peak > 0 && r.flops > r.peak) || (r.bandwidth > 0 && r.bytes > r.bandwidth && r.bytes * r.seconds > kCached);
}

int run_cuda_benchmarks(const Arguments& arguments) {
  const std::unique_ptr<CudaDevice> device = open_cuda(arguments.index);
  const std::string name = device->describe().name;
  int found = 0, wrong = 0;
  benchmark::CudaSettings settings = arguments.settings;
  settings.found = [&](const Result& result) {
    const bool impossible = !settings.small && is_impossible(result);
    wrong += impossible;
    arguments.json ? print_json(result, "\"device\":\"" + name + "\"" + (settings.small ? ",\"small\":true" : ""), impossible) : print_row(result);
    if (impossible && !arguments.json) std::printf("  more than the GPU can do: the measurement is wrong\n");
    std::fflush(stdout);
  };
  for (const auto& entry : benchmark::cuda_entries()) {
    if (std::string(entry.name).find(arguments.name) == std::string::npos) continue;
    ++found;
    if (!arguments.json) std::printf("%s, %s; shares of what its maker states\n%-36s %-22s %-5s %10s %9s %7s %8s\n", entry.name, name.c_str(), "what", "shape", "type", "ms", "GFLOP/s", "peak", "GB/s");
    entry.body(*device, settings);
    std::fflush(stdout);
  }
  if (wrong) std::fprintf(stderr, "nichelm_bench: %d of the lines say more than the GPU can do: these measurements are wrong\n", wrong);
  if (found) return wrong != 0;
  std::fprintf(stderr, "no benchmark of a GPU has '%s' in its name; there are:", arguments.name.c_str());
  for (const auto& entry : benchmark::cuda_entries()) std::fprintf(stderr, " %s", entry.name);
  std::fprintf(stderr, "\n");
  return 2;
}

int run_benchmarks(const Arguments& arguments) {
  Cpu device(arguments.threads, arguments.isa);
  int found = 0, lines = 0;
  for (const auto& entry : benchmark::entries()) {
    if (entry.name.find(arguments.name) == std::string::npos) continue;
    ++found;
    if (!arguments.json) std::printf("%s, %s, threads %d\n%-36s %-22s %-5s %10s %9s %7s %8s\n", entry.name.c_str(), name_of(device.isa()), device.threads(), "what", "shape", "type", "ms", "GFLOP/s", "peak", "GB/s");
    for (const Result& result : entry.body(device)) ++lines, arguments.json ? print_json(result, about(device)) : print_row(result);
    std::fflush(stdout);
  }
  if (found && !lines) throw Error(ErrorCode::argument, "--case: no line of these benchmarks has that text in it");
  if (found) return 0;
  std::fprintf(stderr, "no benchmark has '%s' in its name; there are:", arguments.name.c_str());
  for (const auto& entry : benchmark::entries()) std::fprintf(stderr, " %s", entry.name.c_str());
  std::fprintf(stderr, "\n");
  return 2;
}

}  // namespace

int main(int argc, char** argv) {
  try {
    const Arguments arguments = parse(argc, argv);
    return arguments.cuda ? run_cuda_benchmarks(arguments) : run_benchmarks(arguments);
  } catch (const std::exception& e) {
    std::fprintf(stderr, "nichelm_bench: %s\n", e.what());
    return 2;
  }
}
